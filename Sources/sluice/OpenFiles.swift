import Glibc
import Pipeline

/// How many files the process may open: its connections, and what the sink keeps on disk.
enum OpenFiles {
    /// What an agent with one broker takes at its start, and some for objects.
    private static let least: rlim_t = 128

    /// Where one of the first three is closed, a connection to a server would get its number, and the output with it. To the descriptor
    /// that takes its place nothing can be written: a command still says that its output was lost.
    static func takeStandardOnes() {
        for descriptor: Int32 in 0...2 where fcntl(descriptor, F_GETFD) == -1 { _ = open("/dev/null", O_RDONLY) }
    }

    /// Takes what the system allows: the soft limit is kept low for programs that wait with `select`.
    /// - Throws: 78 where that is too little to run.
    static func raiseLimit() throws(AgentExit) {
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        var limit = rlimit()
        guard getrlimit(resource, &limit) == 0 else { return }
        if limit.rlim_cur < limit.rlim_max {
            var raised = limit
            raised.rlim_cur = limit.rlim_max
            if setrlimit(resource, &raised) == 0 { limit = raised }
        }
        guard limit.rlim_cur < least else { return }
        throw AgentExit(
            .configuration, "the process may open \(limit.rlim_cur) files, and needs \(least)",
            hints: ["raise the limit: ulimit -n 1024; with systemd LimitNOFILE=1024; with Docker --ulimit nofile=1024"])
    }
}
