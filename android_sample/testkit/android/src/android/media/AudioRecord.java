package android.media;

public class AudioRecord {
    public AudioRecord(
            int audioSource, int sampleRateInHz, int channelConfig, int audioFormat, int bufferSizeInBytes) {
        throw new UnsupportedOperationException("a stub");
    }

    public void startRecording() {
        throw new UnsupportedOperationException("a stub");
    }

    public int read(short[] audioData, int offsetInShorts, int sizeInShorts) {
        throw new UnsupportedOperationException("a stub");
    }

    public void release() {
        throw new UnsupportedOperationException("a stub");
    }
}
