import Glibc
import Synchronization
import Testing

@testable import Telemetry

@Suite struct MetricsTests {
    @Test func text() {
        let registry = MetricsRegistry()
        registry.counter("sluice_rows_total", "Rows\\ published,\nby table.", ["table": "a\"b\\c\nd", "op": "insert"])
            .add(5)
        registry.counter("sluice_rows_total", "ignored", ["op": "insert", "table": "e"]).add(-1)
        registry.gauge("sluice_lag_seconds", "Lag.").set(1.5)
        registry.gauge("sluice_up", "Up.", reading: { 1 })
        registry.gauge("sluice_unknown", "Unknown.", reading: { nil })
        let histogram = registry.histogram(
            "sluice_commit_seconds", "Commits.", bounds: [0.1, 1, 0.1, .infinity], ["topic": "t"])
        for value in [0.1, 0.2, 5, .nan] { histogram.observe(value) }
        histogram.observe(.milliseconds(50))
        #expect(
            registry.prometheusText() == #"""
                # HELP sluice_rows_total Rows\\ published,\nby table.
                # TYPE sluice_rows_total counter
                sluice_rows_total{op="insert",table="a\"b\\c\nd"} 5
                sluice_rows_total{op="insert",table="e"} 0
                # HELP sluice_lag_seconds Lag.
                # TYPE sluice_lag_seconds gauge
                sluice_lag_seconds 1.5
                # HELP sluice_up Up.
                # TYPE sluice_up gauge
                sluice_up 1
                # HELP sluice_unknown Unknown.
                # TYPE sluice_unknown gauge
                # HELP sluice_commit_seconds Commits.
                # TYPE sluice_commit_seconds histogram
                sluice_commit_seconds_bucket{topic="t",le="0.1"} 2
                sluice_commit_seconds_bucket{topic="t",le="1"} 3
                sluice_commit_seconds_bucket{topic="t",le="+Inf"} 4
                sluice_commit_seconds_sum{topic="t"} 5.35
                sluice_commit_seconds_count{topic="t"} 4

                """#)
    }

    @Test func theSameNameAndLabelsAreOneHandle() {
        let registry = MetricsRegistry()
        let first = registry.counter("sluice_x_total", "X.", ["a": "1", "b": "2"])
        #expect(first === registry.counter("sluice_x_total", "X.", ["b": "2", "a": "1"]))
        #expect(first !== registry.counter("sluice_x_total", "X.", ["a": "1"]))
    }

    @Test func numbers() {
        #expect(
            PrometheusText.number(.infinity) == "+Inf" && PrometheusText.number(-.infinity) == "-Inf"
                && PrometheusText.number(.nan) == "NaN")
        #expect(
            PrometheusText.number(1e15) == "1000000000000000" && PrometheusText.number(1e300) == "1e+300"
                && PrometheusText.number(-0.25) == "-0.25")
    }

    @Test func manyThreadsLoseNothing() async {
        let registry = MetricsRegistry()
        let gauge = registry.gauge("sluice_g", "G.")
        let histogram = registry.histogram("sluice_h", "H.", bounds: [1, 2])
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<8 {
                group.addTask {
                    for n in 0..<5_000 {
                        registry.counter("sluice_c_total", "C.", ["task": "\(task % 4)"]).add()
                        gauge.add(1)
                        histogram.observe(Double(n % 3))
                    }
                }
            }
            group.addTask { for _ in 0..<20 { _ = registry.prometheusText() } }
        }
        let sum = (0..<4).reduce(UInt64(0)) { $0 + registry.counter("sluice_c_total", "C.", ["task": "\($1)"]).value }
        #expect(sum == 40_000 && gauge.value == 40_000 && histogram.count == 40_000)
    }

    @Test func theProcess() throws {
        let registry = MetricsRegistry()
        ProcessMetrics.register(in: registry)
        #expect(try #require(ProcessMetrics.residentBytes()) > 1_000_000)
        #expect(try #require(ProcessMetrics.cpuSeconds()) > 0)
        #expect(try #require(ProcessMetrics.openDescriptors()) >= 3)
        #expect(try #require(ProcessMetrics.maximumDescriptors()) >= 16)
        let start = try #require(ProcessMetrics.startTime())
        #expect(abs(Double(time(nil)) - start) < 3_600)
        #expect(registry.prometheusText().split(separator: "\n").count == 15)
    }

    /// Prometheus's own linter, where the machine has it.
    @Test(.enabled(if: access("/usr/bin/promtool", X_OK) == 0, "promtool is not installed")) func promtool() throws {
        let registry = MetricsRegistry()
        ProcessMetrics.register(in: registry)
        registry.counter("sluice_rows_total", "Rows.", ["table": "a\"b\\c\nd é"]).add(5)
        registry.histogram("sluice_commit_seconds", "Commits.").observe(.milliseconds(3))
        registry.gauge("sluice_lag_seconds", "Lag.", ["step": "stored"]).set(.infinity)
        let pipe = try #require(popen("/usr/bin/promtool check metrics >&2", "w"))
        fputs(registry.prometheusText(), pipe)
        #expect(pclose(pipe) == 0)
    }
}
