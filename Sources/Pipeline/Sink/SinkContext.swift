import Kafka
import ObjectStorage
import Telemetry

/// What the partitions of one session share. The consumer's thread owns it.
final class SinkContext {
    let settings: SinkSettings
    let services: StreamServices
    let memory: SinkMemory
    let queue: StoreQueue
    let pool: PackerPool
    /// A digest of where the store is.
    let storeID: String
    var ratio = PackingRatio()
    var limit = SegmentLimit()
    /// Monotonic nanoseconds when the records at hand were polled: a look at the clock for each would be felt.
    var now: Int64
    var dropped: UInt64 = 0
    /// Files that may be opened before the bounds are looked at again.
    var filesLeft: Int
    /// By partition, the hours with an object that may be in no manifest; of this version of the board.
    var unsealed: (version: Int, hours: [TopicPartition: HourSet]) = (-1, [:])
    private let dropLog = LogThrottle(every: .seconds(1))
    private var generations = 0

    init(
        _ settings: SinkSettings, _ services: StreamServices, _ memory: SinkMemory, _ queue: StoreQueue, storeID: String
    ) {
        self.memory = memory
        self.settings = settings
        self.services = services
        self.queue = queue
        self.storeID = storeID
        pool = PackerPool(settings.compression, count: settings.packers)
        now = services.clock.monotonic()
        filesLeft = settings.pressure.files
    }

    /// Whether an object may write to disk: it has its file, or takes one of those that are left. Else it goes on in memory.
    func hasFile(for segment: Segment) -> Bool {
        if segment.spool != nil { return true }
        guard filesLeft > 0 else { return false }
        filesLeft -= 1
        return true
    }

    func nextGeneration() -> Int {
        generations += 1
        return generations
    }

    /// A record was there before (C5).
    func drops(_ partition: TopicPartition, _ offset: Int64, _ position: String) {
        dropped += 1
        services.log.log(
            .warning, "dropped a record that is in an object already", throttle: dropLog,
            [
                "topic": .init(partition.topic), "partition": .init(partition.partition), "offset": .init(offset),
                "position": .init(position),
            ])
    }

    /// The disk is full: smaller objects from here on.
    func spoolFailed(at size: Int, _ error: StorageError) {
        limit.failed(at: size)
        let bytes = limit.bytes
        services.state.failed("spool", kind: error.code ?? error.kind.rawValue)
        services.state.update { $0.sink.spoolFailures += 1 }
        services.log.warning(
            "the spool cannot be written, objects are ended early",
            [
                "directory": .init(settings.spoolDirectory), "error": .init(error), "bytes": .init(bytes),
            ])
    }
}
