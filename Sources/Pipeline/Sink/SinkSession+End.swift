/// What is put before a session ends.
extension SinkSession {
    /// A stop was asked for: writes what is open, as far as the time goes.
    func drain() throws(SinkFailure) {
        let deadline = services.stop.deadline ?? services.clock.monotonic()
        let all = Array(writers.values)
        context.now = services.clock.monotonic()
        // An object that is begun when the time is over is cut off, or put and not committed.
        if context.now < deadline {
            for writer in all { try writer.end(.shutdown, after: nil) }
        }
        // The commit and the leaving of the group need some of the time.
        let reserve = min(.seconds(2), max(0, deadline &- context.now) / 4)
        try settle(all, until: deadline &- reserve)
        let left = all.filter { $0.open != nil || !$0.puts.waiting.isEmpty }
        if !left.isEmpty {
            services.log.warning(
                "not all objects could be put within the stop timeout: they are read again at the next start",
                ["partitions": .init(left.count)])
        }
        commit(timeout: .nanoseconds(max(.milliseconds(100), reserve / 2)))
    }

    /// Puts what was read, of all partitions, and then fails: what takes the records of one may be as far with theirs.
    func salvage(before failure: SinkFailure) throws(SinkFailure) -> Never {
        // A stop may come meanwhile, and does not wait for it.
        services.state.update { $0.sinkFailed(failure) }
        let all = Array(writers.values)
        context.now = services.clock.monotonic()
        for writer in all { try writer.end(.shutdown, after: nil) }
        try settle(all, until: context.now &+ .seconds(30))
        commit(timeout: .seconds(3))
        throw failure
    }
}
