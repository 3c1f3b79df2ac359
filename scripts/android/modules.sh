# Sourced by check_android.sh: the modules of android_sample, how they are compiled and tested.

sample=android_sample
classes=$out/classes
coroutines=$kotlin/kotlinx-coroutines-core-jvm.jar
gson=$jars/gson.jar
jna=$jars/jna.jar
junit=$kotlin/kotlin-test.jar:$kotlin/kotlin-test-junit.jar:$jars/junit4.jar:$jars/hamcrest.jar

# Resources and the merged manifest, as the Gradle plugin would do it, linked against the framework's; R.java.
link_resources() {
  local app=$sample/app/src work=$out/resources
  rm -rf "$work" && mkdir -p "$work/java"
  python $sample/testkit/resources/merge_manifests.py $app/main/AndroidManifest.xml \
    $app/debug/AndroidManifest.xml > "$work/AndroidManifest.xml"
  aapt2 compile --dir $app/main/res -o "$work/compiled.zip" || fail "resources do not compile (see above)"
  # Debian's framework is Android 10, which did not know <uses-native-library> yet: a warning, the only one.
  aapt2 link -I "$framework" --manifest "$work/AndroidManifest.xml" --warn-manifest-validation \
    --min-sdk-version 26 --target-sdk-version 36 --java "$work/java" -o "$work/linked.apk" "$work/compiled.zip" \
    2> "$work/log" || fail "resources do not link: $(cat "$work/log")"
  ! grep -v "unexpected element <uses-native-library>" "$work/log" || fail "aapt2 warned (see above)"
}

compile_stubs() {
  find $sample/testkit/android/src "$out/resources/java" -name '*.java' -print0 \
    | xargs -0 javac -Xlint:all -Werror --release 17 -d "$classes/android" || fail "the stubs do not compile (see above)"
}

# module CLASSPATH SOURCES... : one argument file for the compiler, in the order of compilation.
module() {
  local name=$1 classpath=$2
  shift 2
  mkdir -p "$out/arguments"
  printf '%s\n' -Werror -jvm-target 17 -no-reflect -kotlin-home "${kotlin%/lib}" \
    -module-name "${name%-test}" -cp "$classpath" -d "$classes/$name" \
    -Xfriend-paths="$classes/${name%-test}" "$@" > "$out/arguments/$name"
  modules+=("$out/arguments/$name")
}

compile_modules() {
  modules=()
  module core "$coroutines:$gson" $sample/core/src/main/kotlin
  module core-test "$coroutines:$gson:$junit:$classes/core" $sample/core/src/test/kotlin
  module litertlm "$coroutines:$gson:$jna" $sample/testkit/litertlm/src
  module litert "$coroutines:$classes/core:$classes/litertlm" $sample/litert/src/main/kotlin
  module app "$coroutines:$gson:$classes/core:$classes/litert:$classes/android" \
    $sample/app/src/main/kotlin $sample/app/src/debug/kotlin
  module endtoend \
    "$coroutines:$gson:$junit:$classes/core:$classes/litertlm:$classes/litert:$classes/app:$classes/android" \
    $sample/testkit/endtoend/src
  java -Xmx1g -XX:TieredStopAtLevel=1 -cp "$(printf '%s:' "$kotlin"/*.jar)" \
    $sample/testkit/compiler/CompileAll.java "${modules[@]}" || fail "the sample does not compile (see above)"
}

export_bundles() {
  local pair=checkpoints/tiny bundles=$out/bundles
  mkdir -p "$bundles"
  { python -m exporter.cli.main export $pair/target $pair/drafter -o "$bundles/tiny.litertlm" \
      --recipe int8 --force \
    && python scripts/android/repack.py "$bundles/tiny.litertlm" "$bundles/foreign.litertlm" \
    && python scripts/android/repack.py "$bundles/tiny.litertlm" "$bundles/plain.litertlm" --without-drafter \
    && python -m scripts.android.planted_bundles "$bundles"
  } > "$out/export.log" 2>&1 \
    || fail "the tiny bundles could not be exported: $(tail -n 3 "$out/export.log")"
}

engine_library() {
  python -c "import litert_lm, pathlib; print(pathlib.Path(litert_lm.__file__).parent / 'liblitert-lm.so')"
}

# test_classes ROOT : the names of all classes in files called ...Test.kt
test_classes() { (cd "$1" && find . -name '*Test.kt' | sort | sed 's|^\./||; s|\.kt$||; s|/|.|g'); }

run_tests() {
  run_classpath=$kotlin/kotlin-stdlib.jar:$coroutines:$gson:$jna:$junit:$(printf '%s:' "$classes"/*)
  # No Vulkan driver: the tests of falling back from the GPU need one that is refused.
  VK_ICD_FILENAMES=/nonexistent VK_DRIVER_FILES=/nonexistent \
    java -XX:TieredStopAtLevel=1 -Dlitertlm.library="$(engine_library)" -Dbundles="$out/bundles" \
    -Dandroid.declarations="$tools/@nativescript/types-android/lib/android/android-platform-37.d.ts" \
    -Dsample="$sample" \
    -cp "$run_classpath" \
    org.junit.runner.JUnitCore $(test_classes $sample/core/src/test/kotlin) \
    $(test_classes $sample/testkit/endtoend/src) > "$out/tests.log" 2> "$out/engine.log" \
    || { grep -vE '^\s+at (org.junit|java.base|jdk)' "$out/tests.log"; fail "tests failed; the engine's log: $out/engine.log"; }
  grep '^OK' "$out/tests.log"
}
