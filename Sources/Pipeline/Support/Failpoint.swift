#if FAILPOINTS
    import Glibc
    import Synchronization
#endif

/// A named place in the code at which a campaign of faults ends or stops the process.
///
/// It does something only in a build with `FAILPOINTS` defined (debug builds, and `SLUICE_FAILPOINTS=1 swift build`), where
/// `SLUICE_FAILPOINT=<name>:<count>:<exit|stop>` says what happens when the place is reached for the count-th time. In a
/// release a place is nothing: not a call, not its name (a test looks for the names in the release binary).
package struct Failpoint: Sendable {
    #if FAILPOINTS
        private let name: StaticString
    #endif

    @inline(__always)
    private init(_ name: StaticString) {
        #if FAILPOINTS
            self.name = name
        #endif
    }

    /// One record, handed to the Kafka client.
    @inline(__always) package static var beforeProduce: Failpoint { Failpoint("failpoint-before-produce") }
    @inline(__always) package static var afterProduce: Failpoint { Failpoint("failpoint-after-produce") }
    /// The position, into the same Kafka transaction.
    @inline(__always) package static var beforePosition: Failpoint { Failpoint("failpoint-before-position") }
    @inline(__always) package static var afterPosition: Failpoint { Failpoint("failpoint-after-position") }
    /// The Kafka transaction's commit; after it, Kafka has it and nobody here knows yet.
    @inline(__always) package static var beforeCommit: Failpoint { Failpoint("failpoint-before-commit") }
    @inline(__always) package static var afterCommit: Failpoint { Failpoint("failpoint-after-commit") }
    /// The report to PostgreSQL that lets the slot go on.
    @inline(__always) package static var beforeConfirm: Failpoint { Failpoint("failpoint-before-confirm") }
    @inline(__always) package static var afterConfirm: Failpoint { Failpoint("failpoint-after-confirm") }
    /// A new agent, or a new producer, fences the one before it.
    @inline(__always) package static var beforeFence: Failpoint { Failpoint("failpoint-before-fence") }
    @inline(__always) package static var afterFence: Failpoint { Failpoint("failpoint-after-fence") }
    /// An object goes to the store; after it, it is there and nobody here knows yet.
    @inline(__always) package static var beforePut: Failpoint { Failpoint("failpoint-before-put") }
    @inline(__always) package static var afterPut: Failpoint { Failpoint("failpoint-after-put") }
    /// The group's offset behind an object.
    @inline(__always) package static var beforeOffset: Failpoint { Failpoint("failpoint-before-offset") }
    @inline(__always) package static var afterOffset: Failpoint { Failpoint("failpoint-after-offset") }

    /// Ends or stops the process, where that was asked for.
    @inline(__always)
    package static func hit(_ point: Failpoint) {
        #if FAILPOINTS
            guard let plan = Plan.asked, plan.name == "\(point.name)" else { return }
            guard Plan.hits.add(1, ordering: .relaxed).newValue == plan.count else { return }
            // As a power cut: no handler runs, no buffer is flushed.
            _ = kill(getpid(), plan.isStop ? SIGSTOP : SIGKILL)
        #endif
    }

    #if FAILPOINTS
        /// What the environment asks for.
        private struct Plan {
            var name: String
            var count: Int
            var isStop: Bool

            static let hits = Atomic<Int>(0)
            static let asked: Plan? = {
                // SAFETY: nothing here changes the environment.
                guard let text = unsafe getenv("SLUICE_FAILPOINT") else { return nil }
                let parts = unsafe String(cString: text).split(separator: ":")
                guard parts.count == 3, let count = Int(parts[1]), parts[2] == "exit" || parts[2] == "stop" else {
                    fatalError("SLUICE_FAILPOINT is not <name>:<count>:<exit|stop>")
                }
                return Plan(name: "failpoint-\(parts[0])", count: count, isStop: parts[2] == "stop")
            }()
        }
    #endif
}
