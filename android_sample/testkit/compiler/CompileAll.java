import java.util.List;
import org.jetbrains.kotlin.cli.common.ExitCode;
import org.jetbrains.kotlin.cli.jvm.K2JVMCompiler;

/**
 * Runs the Kotlin compiler once per argument file, in one process: from the second module on, the
 * compiler is warm. Exit code 1 at the first module that does not compile.
 */
final class CompileAll {
    public static void main(String[] argumentFiles) {
        for (String file : List.of(argumentFiles)) {
            ExitCode code = new K2JVMCompiler().exec(System.err, "@" + file);
            if (code != ExitCode.OK) {
                System.err.println("did not compile: " + file);
                System.exit(1);
            }
        }
    }
}
