package com.example.mtpchat.core

/**
 * What the tokenizer of Gemma 4 takes for a control token wherever it stands: `<|turn>`, `<turn|>`,
 * `<|image|>`, `<|"|>`, `<eos>` and their like.
 */
private val CONTROL_TOKEN = Regex(
    "<(?=\\|[^<>|\\s]+\\|?>|[^<>|\\s]+\\|>|(?:bos|eos|pad|unk|mask|unused\\d+|(?:start|end)_of_\\w+)>)",
)

/**
 * The text as the model may read it: a space after the `<` of what would be a control token, so that whoever
 * pastes `<turn|>` asks about it and does not end the turn. The transcript shows what was typed.
 */
fun String.withoutControlTokens(): String = CONTROL_TOKEN.replace(this, "< ")
