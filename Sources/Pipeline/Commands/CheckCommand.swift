import ChangeData
import Kafka
import Postgres

/// `sluice check`: says whether all that is needed exists and may be used, with the fix for what is not.
package struct CheckCommand {
    private let settings: StreamSettings
    private let services: StreamServices
    private let output: Output

    package init(settings: StreamSettings, services: StreamServices, output: Output) {
        self.settings = settings
        self.services = services
        self.output = output
    }

    /// Prints what it finds; throws exit 1 where there is a problem.
    /// - Parameter more: what others have found, such as the sink of its store.
    package func run(more: [Finding]) throws(AgentExit) {
        let (source, topics, isStreaming) = postgres()
        let findings = source + kafka(topics, isStreaming: isStreaming) + more
        output.findings(findings)
        guard findings.hasProblem else { return }
        let count = findings.filter { $0.severity == .problem }.count
        throw AgentExit(.different, "check found \(count) \(count == 1 ? "problem" : "problems")")
    }

    /// What PostgreSQL says, the topics that its tables need, and whether the slot is in use, as by an agent that runs.
    private func postgres() -> (findings: [Finding], topics: [String], isStreaming: Bool) {
        do throws(PostgresError) {
            var connection = try PostgresConnection(connecting: settings.postgres, timeout: .seconds(10))
            let server = try connection.serverFacts()
            let patterns = settings.tables
            let tables = try connection.tables(matching: patterns)
            let publication = try connection.publication(named: settings.publication)
            let slot = try connection.replicationSlot(named: settings.slot)
            let isStreaming = slot?.activePID != nil
            var findings = Preflight.server(server, hasSlot: slot != nil, isStreaming: isStreaming)
            findings += Preflight.synchrony(server, applicationName: settings.applicationName)
            findings += Preflight.tables(tables, patterns: patterns, server: server, publication: publication)
            findings += Preflight.topics(settings, tables) + Preflight.columns(settings, tables)
            findings += Preflight.publication(
                publication, named: settings.publication, wanted: tables, patterns: patterns)
            findings += replication(isStreaming: isStreaming)
            return (findings, Preflight.topicNames(settings, tables), isStreaming)
        } catch {
            return ([Finding(.problem, "postgres", error.description)], [], false)
        }
    }

    /// pg_hba.conf may let ordinary connections in and refuse replication.
    private func replication(isStreaming: Bool) -> [Finding] {
        do throws(PostgresError) {
            var connection = try ReplicationConnection(connecting: settings.postgres, timeout: .seconds(10))
            _ = try connection.identifySystem()
            return []
        } catch {
            return [replication("replication connection", error, isStreaming: isStreaming)]
        }
    }

    /// An agent that streams has its walsender, and needs no other: that there is none for us is no fault of it.
    private func replication(_ subject: String, _ error: PostgresError, isStreaming: Bool) -> Finding {
        guard isStreaming, error.sqlState == "53300" else { return Finding(.problem, subject, error.description) }
        return Finding(.warning, subject, "not looked at while the slot is in use: \(error)")
    }

    private func kafka(_ topics: [String], isStreaming: Bool) -> [Finding] {
        var findings: [Finding] = []
        do throws(KafkaError) {
            let maker = try TopicMaker(settings, events: services.kafkaEvents, log: services.log)
            let admin = maker.admin
            let cluster = try admin.describeCluster(timeout: .seconds(15))
            findings.append(Finding(.fine, "kafka", "cluster \(cluster.id), \(cluster.brokers.count) brokers"))
            if cluster.brokers.count < Int(settings.replicationFactor) {
                findings.append(
                    Finding(
                        .warning, "kafka.replication_factor",
                        "is \(settings.replicationFactor), and there are \(cluster.brokers.count) brokers: no topic can be made",
                        fixes: ["kafka.replication_factor: \(cluster.brokers.count)"]))
            }
            findings += try transactionTimeout(admin)
            for topic in topics { findings += try self.topic(topic, admin) }
            findings += try position(maker, topics, isStreaming: isStreaming)
        } catch {
            let refusal = services.state.snapshot.kafkaRefusal
            findings.append(
                Finding(
                    .problem, "kafka", [error.description, refusal].compactMap(\.self).joined(separator: "; "),
                    fixes: refusal == nil ? [] : ["look at kafka.client: user, password, mechanism, certificates"]))
        }
        return findings
    }

    /// Settings of brokers and topics may be hidden: `run` does without them, and has them told by the first refusal.
    private func hidden(_ subject: String, _ error: KafkaError) throws(KafkaError) -> [Finding] {
        guard error.reason == .authorization else { throw error }
        return [
            Finding(
                .warning, subject, "its settings are not shown to this user: they are not looked at",
                fixes: ["allow DescribeConfigs"])
        ]
    }

    private func transactionTimeout(_ admin: KafkaAdmin) throws(KafkaError) -> [Finding] {
        let configuration: [String: String]
        do throws(KafkaError) {
            configuration = try admin.configuration(ofBroker: nil, timeout: .seconds(15))
        } catch { return try hidden("kafka", error) }
        guard let most = configuration["transaction.max.timeout.ms"].flatMap({ Int64($0) }),
            settings.transactionTimeout > most * 1_000_000
        else { return [] }
        return [
            Finding(
                .problem, "kafka.transaction.timeout",
                "is \(settings.transactionTimeout / 1_000_000) ms, the brokers' transaction.max.timeout.ms is \(most)",
                fixes: ["set kafka.transaction.timeout to at most \(most)ms"])
        ]
    }

    private func topic(_ name: String, _ admin: KafkaAdmin) throws(KafkaError) -> [Finding] {
        guard let partitions = try admin.partitionCount(of: name, timeout: .seconds(15)) else {
            return [Finding(.problem, "topic \(name)", "does not exist", fixes: ["sluice init"])]
        }
        var findings = [Finding(.fine, "topic \(name)", "\(partitions) partitions")]
        let configuration: [String: String]
        do throws(KafkaError) {
            configuration = try admin.configuration(ofTopic: name, timeout: .seconds(15))
        } catch { return findings + (try hidden("topic \(name)", error)) }
        if Compaction.policy(configuration) != nil {
            findings.append(
                Finding(
                    .problem, "topic \(name)", "is compacted: rows that S3 still needs would go",
                    fixes: [Compaction.cure(name)]))
        }
        if configuration["min.insync.replicas"] == "1" {
            findings.append(Finding(.warning, "topic \(name)", "one broker alone can acknowledge, and lose, rows"))
        }
        return findings
    }

    /// Topics whose number of partitions has changed: `run` refuses them.
    private func changedTopics(
        _ topics: [String], since stored: StoredPosition, _ maker: TopicMaker
    ) throws(KafkaError) -> [Finding] {
        var findings: [Finding] = []
        for name in topics + [messageTopicName(name: settings.name)] where name != settings.deadLetterTopic {
            guard let count = try maker.partitions(of: name) else { continue }
            var pins = stored.partitions
            let judged = try pins.judge(name, count: count) { () throws(KafkaError) in
                try maker.isEmpty(name, partitions: count)
            }
            guard case .changed(let before) = judged else { continue }
            findings.append(
                Finding(
                    .problem, "topic \(name)",
                    PartitionPins.text(of: count, before: before),
                    fixes: ["sluice init --accept-gap (accepts the new number; stop the agent first)"]))
        }
        return findings
    }

    /// The stored position against the server, and the topics against what it remembers of them.
    private func position(
        _ maker: TopicMaker, _ topics: [String], isStreaming: Bool
    ) throws(KafkaError) -> [Finding] {
        // The slot before the position, the end of the WAL after it: an agent that runs moves both meanwhile.
        let early = try? StartFacts.gather(settings)
        let name = settings.progressTopic
        var changed: [Finding] = []
        do throws(KafkaError) {
            if let fault = try maker.faultOfProgress() {
                return [Finding(.problem, "topic \(name)", fault.what, fixes: [fault.cure])]
            }
        } catch { changed += try hidden("topic \(name)", error) }
        let found = try ProgressStore(settings, events: services.kafkaEvents).readIfThere(timeout: .seconds(15)).found
        var stored: StoredPosition?
        switch found {
        case .nothing: break
        case .position(let position):
            stored = position
            changed += try changedTopics(topics, since: position, maker)
            if let respelled = position.respelled(by: settings.format) {
                changed += respelled.texts.map { Finding(.problem, "events", $0, fixes: respelled.cures) }
            }
        case .unreadable(let why):
            let refusal = StartRefusal.unreadable(name, why)
            return changed + [Finding(.problem, "position", refusal.message, fixes: refusal.hints)]
        }
        var facts: StartFacts
        do throws(PostgresError) { facts = try StartFacts.gather(settings).facts } catch {
            return changed + [replication("position", error, isStreaming: isStreaming)]
        }
        if let early { facts.slot = early.facts.slot }
        var refusal: StartRefusal?
        do throws(StartRefusal) { stored = try StartDecision.judge(stored, facts) } catch { refusal = error }
        if refusal == nil, let stored {
            refusal = try KafkaDecision.refusal(stored, facts, settings, maker, in: KafkaDecision.cluster(maker))
        }
        if refusal == nil, let stored {
            do throws(PostgresError) {
                switch try HistoryScan.judge(stored, facts, settings, services) {
                case .fits: break
                case .differs(let found): refusal = found
                case .notCompared(let finding): changed.append(finding)
                }
            } catch { return changed + [Finding(.problem, "position", error.description)] }
        }
        if let refusal {
            return changed + [Finding(.problem, "position", refusal.exit.message, fixes: refusal.hints)]
        }
        let holder = (facts.slot?.holder?.pid).map { ", held by walsender \($0)" } ?? ""
        let at = stored.map { "\($0.lsn), epoch \($0.epoch)" } ?? ""
        return changed + [Finding(.fine, "position", at + holder)]
    }
}
