import Glibc
import ChangeData
import Kafka
import ObjectStorage
import Testing

@testable import Pipeline

extension SinkServerTests {
    @Suite(.serialized, .enabled(if: SinkServers.brokers != nil, "SLUICE_TEST_KAFKA is not set"))
    struct ObjectTests {
        @Test func hoursTombstonesKeyChangesAndAbortedTransactions() throws {
            let bench = try SinkBench()
            try bench.produce([Made(1), Made(2, minutes: 59)])
            try bench.produce([Made(900), Made(901)], commit: false)
            // A delete and its tombstone; a changed key: delete, tombstone, create of one position.
            try bench.produce([
                Made(#"{"d":3}"#, Made.at(3, minutes: 60)), Made(nil, Made.at(3, minutes: 60)),
                Made(#"{"d":4}"#, Made.at(4, minutes: 61)), Made(nil, Made.at(4, minutes: 61)),
                Made(#"{"c":4}"#, Made.at(4, minutes: 61), oldKey: true),
            ])
            // The source's clock goes back.
            try bench.produce([Made(5, minutes: 30), Made(6, minutes: 62)])
            let state = try bench.run { $0.isDrained() }
            #expect(state.records == 7 && state.sink.dropped == 0 && state.sinkError == nil)
            try bench.expectExact()
            let objects = try bench.objects()
            let prefix = "\(bench.topic)/year=2024/month=02/day=29/hour="
            #expect(objects.map { String($0.key.dropFirst(prefix.count).prefix(2)) } == ["12", "13", "12", "13"])
            #expect(objects[0].key == "\(prefix)12/\(bench.topic)+0+0000000000.json")
            #expect(objects[0].lines == [#"{"id":1}"#, #"{"id":2}"#])
            #expect(objects[1].lines == [#"{"d":3}"#, #"{"d":4}"#, #"{"c":4}"#])
            #expect(objects[1].object.tombstones == 2)
            #expect(objects[1].object.firstPosition == Made.at(3, minutes: 60))
            #expect(objects[1].object.mark == RecordMark(Made.at(4).position, rank: 2))
            #expect(objects[2].object.watermark == Made.at(4, minutes: 61).commitTime)
        }

        @Test(arguments: Compression.allCases) func largeObjectsAreCutByTheirStoredSize(_ compression: Compression)
            throws
        {
            let bench = try SinkBench()
            // More than the 2,000 that are taken at once, after which an object's size is looked at.
            for batch in 0..<25 {
                try bench.produce(
                    (0..<200).map { index in
                        let lsn = UInt64(batch * 200 + index + 1)
                        let filler = (0..<20).map { _ in String(UInt64.random(in: 0 ... .max), radix: 36) }.joined()
                        return Made(#"{"id":\#(lsn),"f":"\#(filler)"}"#, Made.at(lsn))
                    })
            }
            try bench.run({
                $0.compression = compression
                $0.segments = SegmentPolicy(bytes: 300_000, age: .seconds(1))
            }) { $0.isDrained() }
            try bench.expectExact(compression)
            let objects = try bench.objects(compression)
            #expect(objects.count > 1)
            #expect(objects.flatMap(\.lines).count == 5000)
        }

        @Test(.enabled(if: SinkServers.s3 != nil, "SLUICE_TEST_S3_PROXY is not set"))
        func theSameOnS3WithManyPartitions() throws {
            let bench = try SinkBench(partitions: 12, s3: true)
            for round in 0..<3 {
                for partition in 0..<12 {
                    try bench.produce(
                        (0..<20).map { Made(UInt64(round * 20 + $0 + 1), minutes: round * 60) },
                        partition: Int32(partition))
                }
            }
            let state = try bench.run({ $0.compression = .gzip }) { $0.isDrained(partitions: 12) }
            #expect(state.records == 720)
            for partition: Int32 in 0..<12 {
                try bench.expectExact(partition: partition, .gzip)
                #expect(try bench.objects(partition: partition, .gzip).count >= 3)
            }
        }

        @Test func aRangeOfTombstonesClaimsItsOffsets() throws {
            let bench = try SinkBench()
            try bench.produce([Made(nil, Made.at(1)), Made(nil, Made.at(2))])
            try bench.run { $0.isDrained() }
            let objects = try bench.objects()
            #expect(objects.count == 1 && objects[0].content.isEmpty)
            #expect(objects.first?.object.tombstones == 2 && objects.first?.object.end == 1)
            try bench.produce([Made(3)])
            try bench.run { $0.isDrained() }
            try bench.expectExact()
        }

        @Test func repeatedRecordsAreDroppedCountedAndCovered() throws {
            let bench = try SinkBench()
            try bench.produce([Made(1), Made(2)])
            // As a broker without isolation shows them: an aborted transaction's records beside those that replaced them.
            try bench.produce([Made(2), Made(3)])
            let first = try bench.run { $0.isDrained() && $0.sink.dropped == 1 }
            #expect(first.records == 3)
            // Known over a restart, by the last object.
            try bench.produce([Made(3), Made(4)])
            let second = try bench.run { $0.isDrained() && $0.sink.dropped == 1 }
            #expect(second.records == 1)
            try bench.expectExact(dropped: 2)
            #expect(try bench.objects().flatMap(\.lines) == (1...4).map { #"{"id":\#($0)}"# })
        }

        @Test func replayedRecordsAreNotDropped() throws {
            let bench = try SinkBench()
            try bench.produce([Made(5), Made("{}", Made.at(2), isReplay: true), Made(6)])
            let state = try bench.run { $0.isDrained() }
            #expect(state.records == 3 && state.sink.dropped == 0)
            try bench.expectExact()
        }

        @Test func withoutConditionsAnObjectThatIsThereIsStillNotReplaced() throws {
            let bench = try SinkBench()
            try bench.produce([Made(1), Made(2)])
            try bench.run { $0.isDrained() }
            let first = try bench.objects()
            try bench.commit(PartitionOffset(TopicPartition(bench.topic, 0), offset: 0))
            try bench.produce([Made(3)])
            try bench.run({ $0.conditional = .off }) { $0.isDrained() && $0.records == 1 }
            try bench.expectExact()
            #expect(try bench.objects()[0].content == first[0].content)
        }

        @Test func aTopicThatIsMadeLaterIsPickedUp() throws {
            let bench = try SinkBench()
            try bench.produce([Made(1)])
            let sink = try bench.start()
            #expect(sink.wait { $0.isDrained() }, "\(sink.log)")
            let later = NewTopic("\(bench.name).public.later", partitions: 1, replicationFactor: 1)
            _ = try bench.admin.createTopics([later], timeout: SinkBench.patience)
            #expect(sink.wait { $0.sink.partitions.count == 2 }, "\(sink.log)")
            try bench.produce([Made(2)])
            #expect(sink.wait { $0.records == 2 }, "\(sink.log)")
            #expect(sink.stop() == nil)
            try bench.expectExact()
        }
    }

    @Suite(.serialized, .enabled(if: SinkServers.brokers != nil, "SLUICE_TEST_KAFKA is not set"))
    struct RefusalTests {
        private func refused(
            _ bench: SinkBench, _ code: AgentExit.Code, _ change: (inout SinkSettings) -> Void = { _ in }
        ) throws -> AgentExit {
            let sink = try bench.start(change)
            let exit = try #require(sink.exit(), "\(sink.log)")
            #expect(exit.code == code, "\(exit)")
            #expect(!exit.hints.isEmpty)
            #expect(sink.state.snapshot.sinkError != nil)
            return exit
        }

        @Test func aRecordThatIsNotOursIsNamed() throws {
            let bench = try SinkBench()
            try bench.produce([Made(1), Made("{}", nil)])
            let exit = try refused(bench, .unrepresentable)
            #expect(exit.message.contains("offset 1 of \(bench.topic)/0"))
        }

        @Test(arguments: ["{\n}", ""]) func aValueThatIsNoLineIsNamed(_ value: String) throws {
            let bench = try SinkBench()
            try bench.produce([Made(value, Made.at(1))])
            #expect(try refused(bench, .unrepresentable).message.contains("offset 0"))
        }

        @Test func anotherCompressionIsRefused() throws {
            let bench = try SinkBench()
            try bench.produce([Made(1)])
            try bench.run { $0.isDrained() }
            #expect(
                try refused(bench, .configuration) { $0.compression = .gzip }.hints[0] == "set s3.compression: none")
        }

        @Test func aForeignObjectUnderOurNameIsAConflict() throws {
            let bench = try SinkBench()
            try bench.produce([Made(1)])
            let name = ObjectName(topic: bench.topic, partition: 0, start: 0)
            let hour = SourceHour(ofMicroseconds: Made.at(1).commitTime)
            let foreign = StoredObject(
                start: 0, end: 5, records: 1, tombstones: 0, dropped: 0, firstPosition: Made.at(7),
                lastPosition: Made.at(9), mark: nil, watermark: nil, sha256: "")
            // It is not there yet when the partition is assigned: the last object would be believed otherwise.
            let sink = try bench.start { $0.segments.age = .seconds(3) }
            #expect(sink.wait { ($0.sink.partitions.first?.openBytes ?? 0) > 0 }, "\(sink.log)")
            _ = try bench.store().put(
                name.key(hour: hour, .none), body: .bytes(Array("{}\n".utf8)), metadata: foreign.metadata)
            let exit = try #require(sink.exit())
            #expect(exit.code == .gap && exit.details[0].contains(Made.at(7).text), "\(exit)")
        }

        @Test func offsetsThatAreGoneAreAGapUntilTheyAreGivenUp() throws {
            let bench = try SinkBench()
            try bench.produce([Made(1), Made(2)])
            try bench.run { $0.isDrained() }
            try bench.produce([Made(3), Made(4), Made(5)])
            try bench.deleteRecords(below: 5)
            let exit = try refused(bench, .gap)
            #expect(exit.message.hasPrefix("offsets 3 to 4 of \(bench.topic)/0"))
            // What the hint's command does.
            try bench.commit(PartitionOffset(TopicPartition(bench.topic, 0), offset: 5))
            try bench.run { $0.isDrained() }
            let objects = try bench.objects()
            #expect(objects.count == 2 && objects[1].object.gap == "2-4" && objects[1].lines == [#"{"id":5}"#])
        }

        /// The other workers seal no hour before it is told that all of the partition is in the store, and nothing comes in it.
        @Test func aQuietPartitionIsToldOfAfterALossWasAccepted() throws {
            let bench = try SinkBench()
            let partition = TopicPartition(bench.topic, 0)
            func told() throws -> OffsetNote? { try bench.committed()?.metadata.flatMap(OffsetNote.init(json:)) }
            try bench.produce([Made(1), Made(2)])
            try bench.deleteRecords(below: 3)
            #expect(try refused(bench, .gap).message.hasPrefix("offsets 0 to 2 of"))
            try bench.commit(PartitionOffset(partition, offset: 3))
            try bench.run { $0.isDrained() }
            #expect(try bench.committed()?.offset == 3 && told()?.gap == 0...2)
            // Over a restart the loss stays on record.
            try bench.produce([Made(3)])
            try bench.run { $0.isDrained() && $0.records == 1 }
            #expect(try bench.objects().map(\.object.gap) == ["0-2"])
            #expect(try told()?.gap == nil && told()?.last?.end == 3)
        }

        @Test func anOffsetThatIsNotOursIsToldAgain() throws {
            let bench = try SinkBench()
            try bench.produce([Made(1)], commit: false)
            let end = try bench.admin.bounds(of: TopicPartition(bench.topic, 0), timeout: SinkBench.patience).high
            try #require(end > 0)
            try bench.commit(PartitionOffset(TopicPartition(bench.topic, 0), offset: end))
            try bench.run { $0.isDrained() }
            #expect(try bench.committed()?.offset == end)
            #expect(try bench.committed()?.metadata.flatMap(OffsetNote.init(json:)) != nil)
        }

        /// Another consumer of the group has read past what is gone, and has committed that.
        @Test func anOffsetOfAStrangerAcceptsNothing() throws {
            let bench = try SinkBench()
            try bench.produce([Made(1), Made(2)])
            try bench.run { $0.isDrained() }
            try bench.produce([Made(3), Made(4), Made(5)])
            try bench.deleteRecords(below: 5)
            try bench.commit(PartitionOffset(TopicPartition(bench.topic, 0), offset: 7))
            #expect(try refused(bench, .gap).message.hasPrefix("offsets 2 to 4 of \(bench.topic)/0"))
        }

        @Test func aLogThatWasCutBeforeTheFirstObjectIsAGap() throws {
            let bench = try SinkBench()
            try bench.produce([Made(1), Made(2)])
            try bench.deleteRecords(below: 1)
            #expect(try refused(bench, .gap).message.hasPrefix("offsets 0 to 0 of"))
        }

        @Test func aLogThatWasEmptiedBehindTheLastObjectIsNone() throws {
            let bench = try SinkBench()
            try bench.produce([Made(1), Made(2)])
            let sink = try bench.start()
            // Offset 2 is the transaction's marker: the group's offset passes it.
            #expect(sink.wait { $0.sink.partitions.first?.nextOffset == 3 }, "\(sink.log)")
            #expect(sink.stop() == nil)
            #expect(try bench.committed()?.offset == 3)
            try bench.deleteRecords(below: 3)
            try bench.produce([Made(3)])
            try bench.run { $0.records == 1 }
            #expect(try bench.objects().map(\.object.start) == [0, 3])
        }

        /// The group's offset may not go back behind the log's begin while the next object is in the making.
        @Test func aLogThatWasEmptiedIsNoneAfterAKillEither() throws {
            let bench = try SinkBench()
            try bench.produce([Made(1), Made(2)])
            try bench.run { $0.sink.partitions.first?.nextOffset == 3 }
            try bench.deleteRecords(below: 3)
            try bench.produce([Made(3)])
            let sink = try bench.start { $0.segments.age = .seconds(600) }
            #expect(sink.wait { ($0.sink.partitions.first?.openBytes ?? 0) > 0 }, "\(sink.log)")
            usleep(1_000_000)
            #expect(sink.stop(within: 0) == nil)
            #expect(try bench.committed()?.offset == 3)
            try bench.run { $0.records == 1 }
            #expect(try bench.objects().map(\.object.start) == [0, 3])
        }

        /// A hot standby, whose sink has failed once before the other got all partitions.
        @Test func aSinkWithoutAPartitionIsNoFailedOne() throws {
            let bench = try SinkBench()
            try bench.produce([Made(1)])
            let first = try bench.start()
            #expect(first.wait { $0.isDrained() && $0.records == 1 }, "\(first.log)")
            let second = RunningSink(try bench.settings(), failedBefore: "committed: timed out")
            #expect(second.wait(seconds: 30) { $0.sinkError == nil }, "\(second.log)")
            #expect(second.state.snapshot.sink.partitions.count + first.state.snapshot.sink.partitions.count == 1)
            #expect(second.stop() == nil && first.stop() == nil)
        }

        @Test func aCompactedTopicIsRefused() throws {
            let bench = try SinkBench(topicSettings: ["cleanup.policy": "compact,delete"])
            let message = try refused(bench, .configuration).message
            #expect(message.contains("\(bench.topic) has cleanup.policy=compact,delete"), "\(message)")
        }

        @Test func aTopicThatWasMadeAnewIsAnotherLog() throws {
            let bench = try SinkBench()
            try bench.produce([Made(1), Made(2)])
            try bench.run { $0.isDrained() }
            try bench.admin.deleteTopics([bench.topic], timeout: SinkBench.patience)
            try bench.makeAnew()
            #expect(try refused(bench, .gap).details[0].contains("made again"))
            try bench.produce([Made(11), Made(12), Made(13), Made(14)])
            let exit = try refused(bench, .gap)
            #expect(exit.message.contains("is not the one that its last object ends with"), "\(exit)")
        }

        /// Its new log soon has more records than the sink has read of the old one: nothing is out of range. Also where the last record was
        /// looked for already, when the sink began, and none came since.
        @Test(arguments: [false, true]) func aTopicThatIsMadeAnewUnderARunningSinkIsNoticed(hasBegun: Bool) throws {
            let bench = try SinkBench()
            var sink = try bench.start()
            try bench.produce([Made(1), Made(2)])
            #expect(sink.wait { $0.isDrained() && $0.records == 2 }, "\(sink.log)")
            if hasBegun {
                #expect(sink.stop() == nil)
                sink = try bench.start()
                #expect(sink.wait { $0.sink.partitions.first?.nextOffset == 3 }, "\(sink.log)")
            }
            try bench.admin.deleteTopics([bench.topic], timeout: SinkBench.patience)
            // Between two fetches nobody could tell: a record does not say of which log it is.
            usleep(2_000_000)
            try bench.makeAnew()
            try bench.produce((11...20).map { Made($0) })
            let exit = sink.exit()
            #expect(exit?.code == .gap, "\(exit.map(\.description) ?? "none"): \(sink.log)")
            #expect(try bench.objects().map(\.object.records) == [2], "nothing of the new log is behind the old one's")
        }

        /// Where the log has been cut meanwhile, the record that was read last cannot be looked for: what is to be read is there.
        @Test func aQuietLogThatWasCutIsReadOn() throws {
            let bench = try SinkBench()
            let sink = try bench.start()
            try bench.produce([Made(1), Made(2)])
            #expect(sink.wait { $0.isDrained() && $0.records == 2 }, "\(sink.log)")
            try bench.deleteRecords(below: 3)
            usleep(1_500_000)
            try bench.produce([Made(3)])
            #expect(sink.wait { $0.isDrained() && $0.records == 3 }, "\(sink.log)")
            #expect(sink.state.snapshot.sink.sessions == 1 && sink.stop() == nil)
            #expect(try bench.objects().map(\.object.records) == [2, 1])
        }

        /// The group was told of the first object, and then of none: a worker that was killed, or commits that failed for days.
        @Test func objectsThatTheGroupHasNotHeardOfAreNotLost() throws {
            let bench = try SinkBench()
            try bench.produce([Made(1), Made(2)])
            try bench.run { $0.isDrained() && $0.records == 2 }
            let early = try #require(try bench.committed())
            try bench.produce([Made(3), Made(4)])
            try bench.run { $0.isDrained() && $0.records == 2 }
            try bench.commit(early)
            let last = try #require(try bench.objects().last)
            try bench.deleteRecords(below: last.object.end + 1)
            try bench.produce([Made(5)])
            try bench.run { $0.isDrained() && $0.records == 1 }
            #expect(try bench.objects().map(\.object.records) == [2, 2, 1])
        }

        @Test func positionsThatGoBackWhileTimeGoesOnAreNoRepetitions() throws {
            let bench = try SinkBench()
            try bench.produce([Made(100)])
            try bench.run { $0.isDrained() }
            try bench.produce([Made(1, minutes: 5)])
            #expect(try refused(bench, .gap).details[2].contains("without a new epoch"))
        }

        @Test func aSpoolThatIsNoneIsRefusedAtStart() throws {
            let bench = try SinkBench()
            #expect(try refused(bench, .configuration) { $0.spoolDirectory += "/none" }.message.contains("spool_dir"))
        }

        @Test func aStoreThatIsNotThereIsRefusedInTime() throws {
            let bench = try SinkBench()
            let exit = try refused(bench, .unavailable) { settings in
                settings.startTimeout = .seconds(2)
                settings.store = .s3(
                    S3Settings(
                        bucket: "none", endpoint: "http://127.0.0.1:1", pathStyle: true,
                        credentials: S3Credentials(accessKeyID: "a", secretAccessKey: "b")))
            }
            #expect(exit.message.contains("the test's store"))
        }

        @Test func brokersThatAreNotThereAreRefusedInTime() throws {
            let bench = try SinkBench()
            let exit = try refused(bench, .unavailable) { settings in
                settings.startTimeout = .seconds(2)
                if let none = try? KafkaSettings(brokers: "127.0.0.1:1", clientID: "sink-test") {
                    settings.kafka = none
                }
            }
            #expect(exit.message.contains("kafka"))
        }

        @Test(.enabled(if: SinkServers.value("SLUICE_TEST_S3_RCLONE") != nil, "SLUICE_TEST_S3_RCLONE is not set"))
        func aStoreWithoutConditionalWritesIsRefused() throws {
            let parts = try #require(SinkServers.value("SLUICE_TEST_S3_RCLONE")).split(separator: ",").map(String.init)
            let bench = try SinkBench()
            let exit = try refused(bench, .unavailable) { settings in
                settings.store = .s3(
                    S3Settings(
                        bucket: parts[3], prefix: "sink/\(bench.name)", endpoint: parts[0], pathStyle: true,
                        credentials: S3Credentials(accessKeyID: parts[1], secretAccessKey: parts[2])))
            }
            #expect(exit.message.contains("conditional writes") && exit.hints[0].contains("s3.conditional: off"))
        }
    }
}
