import Glibc

exit(Application.run(arguments: Array(CommandLine.arguments.dropFirst())))
