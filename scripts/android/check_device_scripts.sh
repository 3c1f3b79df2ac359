# Sourced by check_android.sh: the device scripts, from push to figures, on a stand-in for adb.

check_device_scripts() {
  local device=$out/device figures=$out/figures.json
  rm -rf "$device" && mkdir -p "$device/data/local/tmp" "$device/data/data/com.example.mtpchat"
  (
    export PATH=$PWD/$sample/testkit/adb:$PATH FAKE_DEVICE=$device
    export FAKE_INSTRUMENT="java -XX:TieredStopAtLevel=1 -Dlitertlm.library=$(engine_library) -cp $run_classpath \
com.example.mtpchat.endtoend.DesktopInstrumentationKt"
    # "&&", since a shell whose failure is handled does not end at the first
    scripts/android/push_bundle.sh "$out/bundles/tiny.litertlm" \
      && scripts/android/compare_on_device.sh tiny.litertlm -o "$figures" -a "CPU" -r 2 -n 60 \
        -p "Tell me a story about a \"bear\" & a kite's swamp; it costs \$5." \
      && ! scripts/android/compare_on_device.sh gone.litertlm -a CPU
  ) > "$out/device.log" 2>&1 || { tail -n 20 "$out/device.log" >&2; fail "the device scripts failed (see above)"; }
  python - "$figures" <<'CHECK' || fail "unexpected figures in $figures"
import json, sys
figures = json.load(open(sys.argv[1]))
report, = figures["reports"]
drafts = report["mtp_on"]["drafts_accepted_estimate"] / report["mtp_on"]["drafts"]
assert report["prompt"] == "Tell me a story about a \"bear\" & a kite's swamp; it costs $5.", report["prompt"]
assert report["identical_text"] and report["ratio"] > 0 and report["recipe"] == "int8", report
assert len(report["mtp_off"]["each_tokens_per_second"]) == 2, report
assert abs(drafts - figures["success_rates_in_log"][0]) < 0.1, (drafts, figures["success_rates_in_log"])
CHECK
}
