/// One member of a section of `/status`: its name, and how it is written and read. One table serves both ways.
struct StatusField<Section> {
    let name: String
    /// nil leaves the member out.
    let get: (Section) -> JSONText.Scalar?
    let set: (inout Section, JSONValue) -> Void

    static func field(_ name: String, _ path: WritableKeyPath<Section, String>) -> Self {
        Self(
            name: name, get: { .string($0[keyPath: path]) }, set: { if let new = $1.string { $0[keyPath: path] = new } }
        )
    }

    static func field(_ name: String, _ path: WritableKeyPath<Section, String?>) -> Self {
        Self(name: name, get: { $0[keyPath: path].map { .string($0) } }, set: { $0[keyPath: path] = $1.string })
    }

    static func field(_ name: String, _ path: WritableKeyPath<Section, Int64>) -> Self {
        Self(
            name: name, get: { .integer($0[keyPath: path]) },
            set: { if let new = $1.integer { $0[keyPath: path] = new } })
    }

    static func field(_ name: String, _ path: WritableKeyPath<Section, Int64?>) -> Self {
        Self(name: name, get: { $0[keyPath: path].map { .integer($0) } }, set: { $0[keyPath: path] = $1.integer })
    }

    static func field(_ name: String, _ path: WritableKeyPath<Section, Double>) -> Self {
        Self(
            name: name, get: { .double($0[keyPath: path]) }, set: { if let new = $1.double { $0[keyPath: path] = new } }
        )
    }

    static func field(_ name: String, _ path: WritableKeyPath<Section, Double?>) -> Self {
        Self(name: name, get: { $0[keyPath: path].map { .double($0) } }, set: { $0[keyPath: path] = $1.double })
    }
}

/// A section of `/status` whose members are all single values.
protocol StatusSection {
    static var empty: Self { get }
    static var fields: [StatusField<Self>] { get }
}

extension StatusSection {
    func writeFields(_ object: inout JSONText) {
        for field in Self.fields {
            if let value = field.get(self) { object.member(field.name, value) }
        }
    }

    /// nil where `value` is no object; unknown members are passed over, missing ones keep their defaults.
    init?(reading value: JSONValue?) {
        guard let value, value.object != nil else { return nil }
        self = .empty
        for field in Self.fields {
            if let member = value[field.name] { field.set(&self, member) }
        }
    }
}

extension StatusDocument: StatusSection {
    static var empty: Self { .init(name: "", version: "", state: "", time: "") }
    static var fields: [StatusField<Self>] {
        [
            .field("name", \.name), .field("version", \.version), .field("state", \.state), .field("detail", \.detail),
            .field("time", \.time), .field("uptime_seconds", \.uptimeSeconds),
        ]
    }
}

extension StatusDocument.Source: StatusSection {
    static var empty: Self { .init() }
    static var fields: [StatusField<Self>] {
        [
            .field("slot", \.slot), .field("epoch", \.epoch),
            .field("server_lsn", \.serverLSN), .field("received_lsn", \.receivedLSN), .field("stored_lsn", \.storedLSN),
            .field("confirmed_lsn", \.confirmedLSN), .field("restart_lsn", \.restartLSN),
            .field("received_lag_bytes", \.receivedLagBytes), .field("stored_lag_bytes", \.storedLagBytes),
            .field("confirmed_lag_bytes", \.confirmedLagBytes), .field("restart_lag_bytes", \.restartLagBytes),
            .field("lag_seconds", \.lagSeconds), .field("retained_wal_bytes", \.retainedWALBytes),
            .field("safe_wal_bytes", \.safeWALBytes), .field("replay_lsn", \.replayLSN),
            .field("replay_time", \.replayTime),
        ]
    }
}

extension StatusDocument.Kafka: StatusSection {
    static var empty: Self { .init() }
    static var fields: [StatusField<Self>] {
        [
            .field("transactions", \.transactions), .field("rows", \.rows),
            .field("last_commit_ms", \.lastCommitMilliseconds), .field("buffered_bytes", \.bufferedBytes),
            .field("dead_letters", \.deadLetters),
        ]
    }
}

extension StatusDocument.Table: StatusSection {
    static var empty: Self { .init(table: "", topic: "") }
    static var fields: [StatusField<Self>] {
        [
            .field("table", \.table), .field("topic", \.topic), .field("inserts", \.inserts),
            .field("updates", \.updates),
            .field("deletes", \.deletes), .field("truncates", \.truncates),
        ]
    }
}

extension StatusDocument.Sink: StatusSection {
    static var empty: Self { .init(state: "") }
    static var fields: [StatusField<Self>] {
        [
            .field("state", \.state), .field("detail", \.detail), .field("objects", \.objects),
            .field("bytes", \.bytes),
            .field("dropped", \.dropped),
        ]
    }
}

extension StatusDocument.Partition: StatusSection {
    static var empty: Self { .init(topic: "", partition: 0) }
    static var fields: [StatusField<Self>] {
        [
            .field("topic", \.topic), .field("partition", \.partition), .field("last_offset", \.lastOffset),
            .field("lag_records", \.lagRecords), .field("open_bytes", \.openBytes), .field("hour", \.hour),
        ]
    }
}

extension StatusDocument.Gap: StatusSection {
    static var empty: Self { .init(kind: "", fromLSN: "", toLSN: "") }
    static var fields: [StatusField<Self>] {
        [
            .field("kind", \.kind), .field("from_lsn", \.fromLSN), .field("to_lsn", \.toLSN),
            .field("accepted_at", \.acceptedAt),
        ]
    }
}

extension StatusDocument.ErrorCount: StatusSection {
    static var empty: Self { .init(kind: "", count: 0) }
    static var fields: [StatusField<Self>] {
        [.field("kind", \.kind), .field("count", \.count)]
    }
}
