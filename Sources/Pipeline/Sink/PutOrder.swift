import Kafka

/// The complete objects of a partition on their way to the store: the next one is put when the one before it is there (C5), so that
/// what is in the store never has a hole.
struct PutOrder {
    private let partition: TopicPartition
    private let queue: StoreQueue
    /// Answers to questions of an older generation are not taken.
    private(set) var generation: Int
    /// In the order of their offsets; of these the first is being put.
    private(set) var waiting: [Segment] = []
    /// The last object that is in the store, with the deduplicator after it.
    private(set) var last: (object: ResumeDecision.Last, after: Deduplicator)?

    /// - Parameter queue: to the store's threads.
    init(_ partition: TopicPartition, _ queue: StoreQueue, generation: Int) {
        self.partition = partition
        self.queue = queue
        self.generation = generation
    }

    /// What comes next follows this object; nil where the partition has none.
    mutating func begin(after last: (object: ResumeDecision.Last, after: Deduplicator)?) { self.last = last }

    /// An object is complete.
    mutating func add(_ segment: Segment) {
        waiting.append(segment)
        if waiting.count == 1 { queue.push(.put(segment, generation: generation)) }
    }

    /// Asks what is under the key of an object that grows.
    func look(at segment: Segment) { queue.push(.look(partition, key: segment.key, generation: generation)) }

    /// The first waiting object is in the store.
    mutating func stored(_ segment: Segment) {
        guard let object = segment.object, waiting.first === segment else { return }
        waiting.removeFirst()
        last = (
            ResumeDecision.Last(key: segment.key, end: object.end, lastPosition: object.lastPosition),
            object.deduplicator
        )
        if let next = waiting.first { queue.push(.put(next, generation: generation)) }
    }

    /// Gives up what waits: its records are read again, or are another worker's.
    mutating func drop(next generation: Int) {
        queue.cancel(partition)
        waiting = []
        self.generation = generation
    }
}
