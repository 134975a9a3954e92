import Configuration
import Glibc
import ObjectStorage
import Pipeline
import Telemetry

/// `sluice status`: asks the running agent. Ends with 69 where there is none, and where it has come to a stand (`/healthz`).
enum StatusCommand {
    static func run(_ configuration: Configuration, json: Bool) throws(AgentExit) {
        guard let address = configuration.http else {
            throw Settings.problem(configuration, "http", "is off: status asks the running agent over it")
        }
        let body: [UInt8]
        let health: (status: Int, body: [UInt8])
        do throws(PlainGetError) {
            func ask(_ path: String) throws(PlainGetError) -> (status: Int, body: [UInt8]) {
                try PlainGet.get(host: address.reachable, port: address.port, path: path, timeout: .seconds(5))
            }
            body = try ask("/status").body
            health = try ask("/healthz")
        } catch {
            throw AgentExit(.unavailable, "no agent answers at \(address): \(error)", hints: ["sluice run"])
        }
        try show(body, json: json, from: address)
        guard health.status == 200 else {
            let why = String(decoding: health.body, as: UTF8.self)
            throw AgentExit(
                .unavailable,
                "the agent does not go on: \(why.split(whereSeparator: \.isNewline).joined(separator: ", "))",
                hints: ["end it, and start it again"])
        }
    }

    private static func show(_ body: [UInt8], json: Bool, from address: ListenAddress) throws(AgentExit) {
        if json {
            StandardOutput.write(String(decoding: body, as: UTF8.self) + "\n")
            return
        }
        guard let document = StatusDocument(json: body) else {
            throw AgentExit(.software, "the answer of \(address) is not a status document")
        }
        StandardOutput.write(
            StatusReport.text(document, isColoured: LogSink.isColourTerminal(1, environment: Environment.variables)))
    }
}

extension ListenAddress {
    /// Where one that listens on every address is asked.
    fileprivate var reachable: String {
        switch host {
        case "0.0.0.0": "127.0.0.1"
        case "::": "::1"
        default: host
        }
    }
}
