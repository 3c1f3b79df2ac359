# Sourced by check_android.sh: the modules of android_sample, how they are compiled and tested.

sample=android_sample
classes=$out/classes
coroutines=$kotlin/kotlinx-coroutines-core-jvm.jar
gson=$jars/gson.jar
jna=$jars/jna.jar
junit=$kotlin/kotlin-test.jar:$kotlin/kotlin-test-junit.jar:$jars/junit4.jar:$jars/hamcrest.jar

link_resources() { :; }
compile_stubs() { :; }

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
  module endtoend "$coroutines:$gson:$junit:$classes/core:$classes/litertlm:$classes/litert" \
    $sample/testkit/endtoend/src
  java -Xmx1g -XX:TieredStopAtLevel=1 -cp "$(printf '%s:' "$kotlin"/*.jar)" \
    $sample/testkit/compiler/CompileAll.java "${modules[@]}" || fail "the sample does not compile (see above)"
}

export_bundles() {
  local pair=checkpoints/tiny export="python -m exporter.cli.main export"
  mkdir -p "$out/bundles"
  $export $pair/target $pair/drafter -o "$out/bundles/tiny.litertlm" --force > "$out/export.log" 2>&1 \
    && $export $pair/target --no-drafter -o "$out/bundles/plain.litertlm" --force >> "$out/export.log" 2>&1 \
    || fail "the tiny bundles could not be exported: $(tail -n 3 "$out/export.log")"
}

engine_library() {
  python -c "import litert_lm, pathlib; print(pathlib.Path(litert_lm.__file__).parent / 'liblitert-lm.so')"
}

# test_classes ROOT : the names of all classes in files called ...Test.kt
test_classes() { (cd "$1" && find . -name '*Test.kt' | sort | sed 's|^\./||; s|\.kt$||; s|/|.|g'); }

run_tests() {
  java -XX:TieredStopAtLevel=1 -Dlitertlm.library="$(engine_library)" -Dbundles="$out/bundles" \
    -cp "$kotlin/kotlin-stdlib.jar:$coroutines:$gson:$jna:$junit:$(printf '%s:' "$classes"/*)" \
    org.junit.runner.JUnitCore $(test_classes $sample/core/src/test/kotlin) \
    $(test_classes $sample/testkit/endtoend/src) > "$out/tests.log" 2> "$out/engine.log" \
    || { grep -vE '^\s+at (org.junit|java.base|jdk)' "$out/tests.log"; fail "tests failed; the engine's log: $out/engine.log"; }
  grep '^OK' "$out/tests.log"
}
