import ChangeData
import Glibc
import Kafka
import ObjectStorage
import Testing

@testable import Pipeline

extension SinkServerTests {
    @Suite(.serialized, .enabled(if: SinkServers.brokers != nil, "SLUICE_TEST_KAFKA is not set"))
    struct FaultTests {
        @Test func aKillBeforeThePutLosesNothing() throws {
            let bench = try SinkBench()
            try bench.produce([Made(1), Made(2)])
            let sink = try bench.start { $0.segments.age = .seconds(600) }
            #expect(sink.wait { ($0.sink.partitions.first?.openBytes ?? 0) > 0 }, "\(sink.log)")
            // No time at all: what is open is left, as by a kill.
            #expect(sink.stop(within: 0) == nil)
            #expect(sink.log.contains("not all objects could be put"), "\(sink.log)")
            #expect(try bench.objects().isEmpty)
            try bench.produce([Made(3)])
            try bench.run { $0.isDrained() }
            try bench.expectExact()
        }

        @Test func aKillBetweenPutAndCommitRepeatsNothing() throws {
            let bench = try SinkBench()
            try bench.produce([Made(1), Made(2)])
            try bench.run { $0.isDrained() }
            let before = try #require(try bench.committed())
            try bench.produce([Made(3), Made(4)])
            try bench.run { $0.isDrained() }
            // The second object is there, and the group does not know it.
            try bench.commit(before)
            try bench.produce([Made(5)])
            let state = try bench.run { $0.isDrained() && $0.records == 1 }
            #expect(state.sink.followed == 1)
            try bench.expectExact()
            #expect(try bench.objects().count == 3)
        }

        @Test func aGroupThatKnowsNothingFindsTheLastObjectByItself() throws {
            let bench = try SinkBench()
            for round in 0..<3 {
                // The last object lies in the older hour.
                try bench.produce([Made(UInt64(round * 2 + 1), minutes: 120 - round * 60)])
                try bench.run { $0.isDrained() }
            }
            let topic = TopicPartition(bench.topic, 0)
            try bench.commit(PartitionOffset(topic, offset: 1))
            try bench.produce([Made(9)])
            let state = try bench.run { $0.isDrained() && $0.records == 1 }
            #expect(state.sink.followed == 0)
            try bench.expectExact()
            #expect(try bench.committed()?.metadata.flatMap(OffsetNote.init(json:))?.last?.end == 6)
        }

        /// As an unmounted file system leaves its place behind, and later comes back.
        @Test func aDirectoryThatIsNotTheStoreAnyMoreIsNotWritten() throws {
            let bench = try SinkBench()
            let lake = "\(bench.root)/lake"
            let sink = try bench.start()
            try bench.produce([Made(1)])
            #expect(sink.wait { $0.objects == 1 }, "\(sink.log)")
            try #require(rename(lake, lake + ".away") == 0 && mkdir(lake, 0o755) == 0)
            try bench.produce([Made(2, minutes: 60), Made(3, minutes: 120)])
            #expect(sink.wait { $0.sinkError?.contains("not the one that it was") ?? false }, "\(sink.log)")
            #expect(rmdir(lake) == 0, "nothing was written there")
            try #require(rename(lake + ".away", lake) == 0)
            #expect(sink.wait { $0.isDrained() && $0.sinkError == nil }, "\(sink.log)")
            #expect(sink.stop() == nil)
            try bench.expectExact()
        }

        @Test func anObjectThatIsGoneIsNotWrittenAgain() throws {
            let bench = try SinkBench()
            try bench.produce([Made(1), Made(2)])
            try bench.run { $0.isDrained() }
            try bench.store().delete(try bench.objects()[0].key)
            try bench.produce([Made(2), Made(3)])
            let state = try bench.run { $0.records == 1 && $0.isDrained() }
            #expect(state.sink.dropped == 1)
            #expect(try bench.objects().flatMap(\.lines) == [#"{"id":3}"#])
        }

        /// Two groups read the same partition and write to the same store: each believes that the partition is its own.
        @Test func oneOfTwoOwnersWinsEachObject() throws {
            let bench = try SinkBench()
            let tables = bench.name
            func rival(_ name: String, _ bytes: Int) throws -> RunningSink {
                try bench.start { settings in
                    settings.name = name
                    settings.segments = SegmentPolicy(bytes: bytes, age: .milliseconds(200))
                }
            }
            let first = try rival("\(tables)_a", 600)
            let second = try rival("\(tables)_b", 700)
            #expect(first.wait { $0.sink.partitions.count == 1 } && second.wait { $0.sink.partitions.count == 1 })
            for batch in 0..<30 {
                try bench.produce((0..<40).map { Made(UInt64(batch * 40 + $0 + 1), minutes: batch * 7) })
                usleep(30_000)
            }
            #expect(first.wait { $0.isDrained() } && second.wait { $0.isDrained() }, "\(first.log)")
            #expect(first.stop() == nil && second.stop() == nil)
            try bench.expectExact()
            #expect(try bench.objects().flatMap(\.lines).count == 1200)
            let (one, other) = (first.state.snapshot, second.state.snapshot)
            #expect(one.sink.followed + other.sink.followed > 0)
            #expect(one.records + other.records == 1200)
        }

        @Test func workersOfOneGroupShareAndHandOver() throws {
            let bench = try SinkBench(partitions: 4)
            let first = try bench.start { $0.segments.age = .seconds(600) }
            for partition: Int32 in 0..<4 { try bench.produce([Made(1), Made(2)], partition: partition) }
            #expect(first.wait { $0.sink.partitions.count == 4 && $0.sink.partitions.allSatisfy { $0.openBytes > 0 } })
            let second = try bench.start()
            // What the second takes over was written before it was given up.
            #expect(second.wait { $0.sink.partitions.count == 2 }, "\(second.log)")
            #expect(first.wait { $0.objects >= 2 && $0.sink.partitions.count == 2 }, "\(first.log)")
            for partition: Int32 in 0..<4 { try bench.produce([Made(3)], partition: partition) }
            #expect(second.wait { $0.objects >= 2 }, "\(second.log)")
            #expect(first.stop() == nil)
            #expect(second.wait { $0.isDrained(partitions: 4) }, "\(second.log)")
            #expect(second.stop() == nil)
            for partition: Int32 in 0..<4 { try bench.expectExact(partition: partition) }
        }

        /// S3Proxy's port.
        private func proxied() throws -> (SlowProxy, (inout SinkSettings) -> Void) {
            let parts = try #require(SinkServers.s3)
            let port = try #require(parts[0].split(separator: ":").last.flatMap { UInt16($0) })
            let proxy = try #require(SlowProxy(to: port))
            return (
                proxy,
                { settings in
                    guard case .s3(var store) = settings.store else { return }
                    store.endpoint = "http://127.0.0.1:\(proxy.port)"
                    settings.store = .s3(store)
                }
            )
        }

        @Test(.enabled(if: SinkServers.s3 != nil, "SLUICE_TEST_S3_PROXY is not set"))
        func aStoreThatIsDownIsTriedUntilItIsBack() throws {
            let bench = try SinkBench(s3: true)
            let (proxy, through) = try proxied()
            let sink = try bench.start(through)
            try bench.produce([Made(1)])
            #expect(sink.wait { $0.isDrained() && $0.records == 1 }, "\(sink.log)")
            proxy.set(open: false)
            try bench.produce([Made(2), Made(3)])
            #expect(sink.wait { $0.sink.retries > 2 && $0.sinkError != nil }, "\(sink.log)")
            try bench.produce([Made(4)])
            proxy.set(open: true)
            #expect(sink.wait { $0.isDrained() && $0.records == 4 && $0.sinkError == nil }, "\(sink.log)")
            #expect(sink.stop() == nil)
            try bench.expectExact()
        }

        @Test(.enabled(if: SinkServers.s3 != nil, "SLUICE_TEST_S3_PROXY is not set"))
        func aSlowStoreHoldsReadingBackWithinTheBounds() throws {
            let bench = try SinkBench(partitions: 4, s3: true)
            let filler = String(repeating: "x", count: 2000)
            for partition: Int32 in 0..<4 {
                for batch in 0..<4 {
                    try bench.produce(
                        (0..<1000).map { Made(#"{"f":"\#(filler)"}"#, Made.at(UInt64(batch * 1000 + $0 + 1))) },
                        partition: partition)
                }
            }
            let (proxy, through) = try proxied()
            proxy.set(bytesPerSecond: 4 << 20)
            let bound = 6 << 20
            let sink = try bench.start { settings in
                through(&settings)
                settings.spool = bound
                settings.memory = 6 << 20
                settings.segments = SegmentPolicy(bytes: 64 << 20, age: .seconds(600))
            }
            var most = 0
            var wasPaused = false
            let done = sink.wait(seconds: 120) { snapshot in
                most = max(most, bench.spooled().bytes, snapshot.sink.spoolBytes)
                wasPaused = wasPaused || snapshot.sink.isPaused
                return snapshot.records >= 12_000
            }
            #expect(done, "\(sink.log)")
            proxy.set(bytesPerSecond: .max)
            #expect(sink.stop() == nil)
            #expect(wasPaused && most > bound / 2 && most <= bound, "\(most)")
            // What was not read when it stopped.
            try bench.run { $0.isDrained(partitions: 4) }
            for partition: Int32 in 0..<4 { try bench.expectExact(partition: partition) }
        }

        /// Retention overtakes a partition while the store is away: what was read of others is put before the sink ends with the gap.
        @Test(.enabled(if: SinkServers.s3 != nil, "SLUICE_TEST_S3_PROXY is not set"))
        func aPartitionThatRetentionOvertakesTakesNothingOfOthersAlong() throws {
            let bench = try SinkBench(partitions: 2, s3: true)
            let (proxy, through) = try proxied()
            let sink = try bench.start { settings in
                through(&settings)
                settings.spool = 4 << 20
                settings.memory = 6 << 20
                settings.segments = SegmentPolicy(bytes: 1 << 20, age: .seconds(600))
            }
            try bench.produce([Made(1), Made(2)], partition: 1)
            #expect(sink.wait { $0.sink.partitions.contains { $0.partition.partition == 1 && $0.openBytes > 0 } })
            proxy.set(open: false)
            let filler = String(repeating: "x", count: 2000)
            for batch in 0..<10 {
                try bench.produce(
                    (0..<1000).map { Made(#"{"f":"\#(filler)"}"#, Made.at(UInt64(batch * 1000 + $0 + 1))) })
            }
            #expect(sink.wait { $0.sink.isPaused }, "\(sink.log)")
            // No log has any of it any more.
            try bench.deleteRecords(below: 10_005)
            try bench.deleteRecords(below: 3, partition: 1)
            proxy.set(open: true)
            let exit = try #require(sink.exit())
            #expect(exit.code == .gap && exit.message.contains("of \(bench.topic)/0 are not in"), "\(exit)")
            #expect(try bench.objects(partition: 1).flatMap(\.lines).count == 2)
            #expect(try bench.objects().count > 2)
        }

        /// As a full disk: nothing can be written any more.
        @Test(arguments: [Compression.none, .gzip]) func withoutADiskObjectsAreSmall(_ compression: Compression) throws
        {
            let bench = try SinkBench()
            let settings = try bench.settings { settings in
                settings.compression = compression
                settings.segments.age = .seconds(2)
            }
            let sink = RunningSink(settings)
            #expect(sink.wait { $0.sink.partitions.count == 1 }, "\(sink.log)")
            #expect(rmdir(settings.spoolDirectory) == 0)
            let filler = String(repeating: "z", count: 9000)
            try bench.produce((1...100).map { Made(#"{"f":"\#(filler)"}"#, Made.at($0)) })
            #expect(sink.wait { $0.isDrained() && $0.records == 100 }, "\(sink.log)")
            #expect(sink.state.snapshot.sink.spoolFailures > 0)
            #expect(sink.stop() == nil)
            try bench.expectExact(compression)
            #expect(try bench.objects(compression).count > 10)
        }

        /// The store is away, complete objects wait for it, and then the disk is full: what waits is not read again.
        @Test(.enabled(if: SinkServers.s3 != nil, "SLUICE_TEST_S3_PROXY is not set"))
        func aDiskThatFillsWhileObjectsWaitLosesNone() throws {
            let bench = try SinkBench(s3: true)
            let (proxy, through) = try proxied()
            let settings = try bench.settings(through)
            let sink = RunningSink(settings)
            // The first object needs the store also to begin.
            try bench.produce([Made(1)])
            #expect(sink.wait { $0.isDrained() && $0.records == 1 }, "\(sink.log)")
            proxy.set(open: false)
            try bench.produce([Made(2)])
            #expect(sink.wait { $0.sink.retries > 0 }, "\(sink.log)")
            #expect(rmdir(settings.spoolDirectory) == 0)
            let filler = String(repeating: "z", count: 9000)
            try bench.produce((3...60).map { Made(#"{"f":"\#(filler)"}"#, Made.at($0)) })
            #expect(sink.wait { $0.sink.spoolFailures > 0 }, "\(sink.log)")
            proxy.set(open: true)
            #expect(sink.wait { $0.isDrained() && $0.records == 60 }, "\(sink.log)")
            #expect(sink.stop() == nil)
            try bench.expectExact()
        }

        @Test func hundredsOfPartitionsNeedFewFiles() throws {
            let bench = try SinkBench(partitions: 300)
            let filler = String(repeating: "y", count: 30_000)
            for partition: Int32 in 0..<300 {
                try bench.produce((1...4).map { Made(#"{"f":"\#(filler)"}"#, Made.at($0)) }, partition: partition)
            }
            var most = 0
            let state = try bench.run({ settings in
                settings.memory = 12 << 20
                settings.files = 64
                settings.compression = .lz4
                settings.segments = SegmentPolicy(bytes: 1 << 20, age: .seconds(4))
            }) { snapshot in
                most = max(most, bench.spooled().files)
                return snapshot.isDrained(partitions: 300)
            }
            #expect(state.records == 1200)
            // Each of those that put an object has another while it packs one itself.
            #expect(most > 32 && most <= 64 + 4, "\(most)")
            for partition: Int32 in stride(from: 0, to: 300, by: 37) {
                try bench.expectExact(partition: partition, .lz4)
            }
        }
    }
}
