/// What is done so that memory and disk stay under their bounds (C7), over all partitions together.
package struct PressurePolicy: Equatable, Sendable {
    /// Bytes of records in memory that are in no compressor or file yet.
    package var memory: Int
    /// Bytes of local disk.
    package var spool: Int
    /// Open files.
    package var files: Int

    /// What one turn of the reader takes in at most, bytes, but for the last record.
    package var turn: Int { min(4 << 20, spool / 16) }

    package init(memory: Int, spool: Int, files: Int) {
        self.memory = memory
        self.spool = spool
        self.files = files
    }

    /// A turn is judged when it has written: room for one is kept, so that the bound itself is never passed.
    private var fullSpool: Int { spool - turn }

    /// What is left where a stream in the same process keeps so many bytes on the same disk. It has half of it at most.
    package func leaving(_ bytes: Int) -> PressurePolicy {
        PressurePolicy(memory: memory, spool: max(spool / 2, spool - bytes), files: files)
    }

    /// What is held now.
    package struct Usage: Equatable, Sendable {
        /// Bytes in memory of objects that still grow.
        package var openMemory = 0
        /// Bytes on disk of objects that still grow.
        package var openSpool = 0
        /// Bytes in memory and on disk of objects that wait to be put, or are being put.
        package var waitingMemory = 0
        package var waitingSpool = 0
        package var files = 0

        package init() {}

        package var memory: Int { openMemory + waitingMemory }
        package var spool: Int { openSpool + waitingSpool }
    }

    package struct Decision: Equatable, Sendable {
        /// Read no more records.
        package var pauses = false
        /// End the object with the most bytes on disk.
        package var endsLargest = false
        /// Move the object with the most bytes in memory to disk.
        package var spillsLargest = false

        package init(pauses: Bool = false, endsLargest: Bool = false, spillsLargest: Bool = false) {
            self.pauses = pauses
            self.endsLargest = endsLargest
            self.spillsLargest = spillsLargest
        }
    }

    /// - Parameter isPaused: reading goes on only when a quarter of what stopped it is free again.
    package func judge(_ usage: Usage, isPaused: Bool) -> Decision {
        var decision = Decision()
        let share = isPaused ? 3 : 4
        func isFull(_ used: Int, _ bound: Int) -> Bool { used >= bound / 4 * share }
        // What an object has in memory may follow on disk with its next record.
        let coming = min(usage.openMemory, spool / 8)
        // Ending an object helps only where few are on their way already. A pause that objects which still grow have caused has no other end.
        let much = isPaused ? fullSpool / 4 * share : spool / 8 * 7
        if usage.openSpool > 0, usage.spool + coming >= much, usage.waitingSpool < spool / 4 {
            decision.endsLargest = true
        }
        if usage.files >= files, usage.openSpool > 0 { decision.endsLargest = true }
        if isFull(usage.memory, memory) {
            let hasRoom = usage.files < files && usage.spool < fullSpool
            decision.spillsLargest = hasRoom && usage.openMemory > memory / 8
        }
        decision.pauses =
            isFull(usage.spool + (isPaused ? 0 : coming), fullSpool)
            || isFull(usage.memory, memory) && !decision.spillsLargest
            || usage.files > files + files / 2
        return decision
    }
}
