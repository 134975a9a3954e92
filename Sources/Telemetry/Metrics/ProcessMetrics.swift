import Glibc

/// What the kernel knows of this process, as metrics that are read at each scrape.
public enum ProcessMetrics {
    /// Adds `sluice_process_...` to a registry.
    public static func register(in registry: MetricsRegistry) {
        registry.gauge("sluice_process_resident_memory_bytes", "Resident memory of the process.") { residentBytes() }
        registry.counter("sluice_process_cpu_seconds_total", "CPU time of the process, user and system.") {
            cpuSeconds()
        }
        registry.gauge("sluice_process_open_fds", "Open file descriptors.") { openDescriptors() }
        registry.gauge("sluice_process_max_fds", "The limit on open file descriptors.") { maximumDescriptors() }
        // Does not change: read once.
        let start = startTime()
        registry.gauge("sluice_process_start_time_seconds", "When the process started, in seconds since 1970.") {
            start
        }
    }

    /// Resident memory in bytes; nil where /proc cannot be read.
    public static func residentBytes() -> Double? {
        // statm(5): size resident shared ..., in pages.
        guard let pages = read("/proc/self/statm")?.split(separator: " ").dropFirst().first.flatMap({ Double($0) })
        else { return nil }
        return pages * Double(sysconf(Int32(_SC_PAGESIZE)))
    }

    static func cpuSeconds() -> Double? {
        var usage = rusage()
        guard getrusage(RUSAGE_SELF.rawValue, &usage) == 0 else { return nil }
        func seconds(_ time: timeval) -> Double { Double(time.tv_sec) + Double(time.tv_usec) / 1e6 }
        return seconds(usage.ru_utime) + seconds(usage.ru_stime)
    }

    static func openDescriptors() -> Double? {
        guard let directory = opendir("/proc/self/fd") else { return nil }
        defer { closedir(directory) }
        // ".", ".." and the descriptor of the directory itself do not count.
        var count = -3
        while readdir(directory) != nil { count += 1 }
        return Double(count)
    }

    static func maximumDescriptors() -> Double? {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return nil }
        // RLIM_INFINITY, which Swift imports as -1 of an unsigned type.
        return limit.rlim_cur == .max ? .infinity : Double(limit.rlim_cur)
    }

    static func startTime() -> Double? {
        // proc(5): field 22 of stat, in clock ticks after boot. The name in field 2 may hold blanks: count from behind its bracket.
        guard let stat = read("/proc/self/stat"), let bracket = stat.lastIndex(of: ")"),
            let ticks = stat[bracket...].split(separator: " ").dropFirst(20).first.flatMap({ Double($0) }),
            let boot = read("/proc/stat")?.split(separator: "\n").first(where: { $0.hasPrefix("btime ") })?
                .split(separator: " ").last.flatMap({ Double($0) })
        else { return nil }
        return boot + ticks / Double(sysconf(Int32(_SC_CLK_TCK)))
    }

    private static func read(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var text: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 8_192)
        while text.count < 1 << 20 {
            let count = chunk.withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { break }
            text += chunk[..<count]
        }
        return String(decoding: text, as: UTF8.self)
    }
}
