import Kafka
import ObjectStorage

/// What must hold before the sink reads anything: brokers, a place for the spool, and a store that keeps what is there.
package struct SinkPreflight {
    private let settings: SinkSettings
    private let services: StreamServices

    package init(settings: SinkSettings, services: StreamServices) {
        self.settings = settings
        self.services = services
    }

    /// Asks for all of it, the brokers first.
    func run() throws(SinkFailure) {
        do throws(KafkaError) {
            // A consumer waits for its brokers without a word.
            _ = try KafkaAdmin(settings.kafka, events: services.kafkaEvents).describeCluster(timeout: .seconds(5))
        } catch {
            guard error.reason != .properties else { throw .exit(CommandErrors.refused(error)) }
            throw .kafka(error)
        }
        try spool()
        try store(isStarting: true)
    }

    /// The spool and the store, as `sluice check` reports them.
    package func findings() -> [Finding] {
        [
            finding("limits.spool_dir", "\(settings.spoolDirectory) can be written") { () throws(SinkFailure) in
                try spool()
            },
            finding("store", "\(settings.storeName) can be used") { () throws(SinkFailure) in try store() },
        ]
    }

    private func finding(_ subject: String, _ fine: String, _ body: () throws(SinkFailure) -> Void) -> Finding {
        do throws(SinkFailure) {
            try body()
            return Finding(.fine, subject, fine)
        } catch {
            switch error {
            case .exit(let exit):
                let text = [exit.message] + exit.details
                return Finding(
                    .problem, subject, text.joined(separator: ": "), fixes: exit.hints.filter { $0 != "sluice check" })
            case .retry(_, let reason): return Finding(.problem, subject, "\(settings.storeName): \(reason)")
            }
        }
    }

    private func spool() throws(SinkFailure) {
        do throws(StorageError) {
            let file = try SpoolFile(in: settings.spoolDirectory)
            _ = file.length
        } catch {
            throw .exit(
                AgentExit(
                    .configuration, "limits.spool_dir: \(settings.spoolDirectory) cannot be used",
                    details: [error.description],
                    hints: ["name an existing directory on a local disk that sluice may write"]))
        }
    }

    private func store(isStarting: Bool = false) throws(SinkFailure) {
        let support: ConditionalSupport
        do throws(StorageError) {
            let store = try ObjectStore(settings.store)
            if settings.conditional == .off {
                services.log.warning(
                    "s3.conditional is off: two workers that own a partition at once could overwrite each other's objects",
                    ["store": .init(settings.storeName)])
                _ = try store.head("_sluice/probe")
                try writes(store, isStarting)
                return try lists(store)
            }
            support = try store.probeConditional()
            try writes(store, isStarting)
            try lists(store)
        } catch {
            guard error.kind == .fatal else { throw .retry(component: "s3", reason: error.description) }
            throw .store(error, settings.storeName)
        }
        try judge(support)
    }

    /// A disk that is full when the sink starts is waited for, as in the middle of a run.
    private func writes(_ store: ObjectStore, _ isStarting: Bool) throws(StorageError) {
        do throws(StorageError) { try store.probeWriting() } catch {
            guard isStarting, error.code == "ENOSPC" || error.code == "EDQUOT" else { throw error }
        }
    }

    /// Whether what is there may be asked for, and what is not: without the right to list a store says "denied" where an object is
    /// missing, and each look for the next one would wait for ever.
    private func lists(_ store: ObjectStore) throws(StorageError) {
        try granted("grant s3:ListBucket, on the bucket itself and not on its objects") { () throws(StorageError) in
            _ = try store.list(prefix: "_sluice/", max: 1)
        }
        // One that is there needs the one right, one that is not the other as well.
        try granted("grant s3:GetObject on the objects") { () throws(StorageError) in
            if settings.conditional == .required { _ = try store.head("_sluice/probe") }
        }
        try granted("grant s3:GetObject on the objects, and s3:ListBucket on the bucket without a condition") {
            () throws(StorageError) in
            _ = try store.head("_sluice/absent-\(services.clock.wall())")
        }
    }

    private func granted(_ hint: String, _ call: () throws(StorageError) -> Void) throws(StorageError) {
        do throws(StorageError) { try call() } catch  where error.kind == .denied {
            throw StorageError(
                .denied, error.operation, key: error.key, status: error.httpStatus, error.message, hint: hint)
        }
    }

    private func judge(_ support: ConditionalSupport) throws(SinkFailure) {
        let refused: String
        switch support {
        case .honoured: return
        case .ignored: refused = "it replaced an object in spite of If-None-Match: *"
        case .refused(let text): refused = text
        }
        throw .exit(
            AgentExit(
                .unavailable, "the store \(settings.storeName) does not honour conditional writes",
                details: [refused],
                hints: ["use a store that does, or set s3.conditional: off and run one worker only"]))
    }
}
