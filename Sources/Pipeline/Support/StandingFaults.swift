/// What does not work at the moment, by who found it: whoever gets through again has shown nothing of the others.
package struct StandingFaults: Sendable, Equatable {
    /// Who says so.
    package enum Source: Hashable, Sendable {
        /// The sink as a whole: why it has stopped, or what keeps it from reading its partitions.
        case sink
        /// The sink's reader: its brokers do not answer.
        case brokers
        /// One of the store's threads: each has a connection of its own.
        case store(ObjectIdentifier)
    }

    private struct Fault: Sendable, Equatable {
        let source: Source
        var text: String
    }

    /// In the order in which they began.
    private var faults: [Fault] = []

    package init() {}

    /// The one that has stood longest.
    package var first: String? { faults.first?.text }

    /// Notes what is wrong; what the same source said before is replaced, and keeps its place.
    package mutating func set(_ text: String, by source: Source) {
        if let index = faults.firstIndex(where: { $0.source == source }) {
            faults[index].text = text
        } else {
            faults.append(Fault(source: source, text: text))
        }
    }

    /// The source gets through, or is gone.
    package mutating func clear(by source: Source) { faults.removeAll { $0.source == source } }
}

extension AgentState.Snapshot {
    /// Why the sink does not do all that it should; nil when all is well. What is set is said by the sink as a whole.
    package var sinkError: String? {
        get { sinkFaults.first }
        set {
            if let newValue {
                sinkFaults.set(newValue, by: .sink)
            } else {
                sinkFaults.clear(by: .sink)
            }
        }
    }

    /// A session of the sink has failed.
    mutating func sinkFailed(_ failure: SinkFailure) {
        switch failure {
        case .exit(let exit):
            sinkError = exit.message
            sinkExit = exit
        case .retry(_, let reason): sinkError = reason
        }
    }
}
