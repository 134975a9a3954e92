import Glibc

let status = Application.run(arguments: Array(CommandLine.arguments.dropFirst()))
fflush(nil)
// Not exit(): it cleans the libraries up, while threads that were given up on may still be inside them.
_exit(status)
