import Configuration
import Glibc
import Pipeline
import Telemetry

/// `sluice status`: asks the running agent.
enum StatusCommand {
    static func run(_ configuration: Configuration, json: Bool) throws(AgentExit) {
        guard let address = configuration.http else {
            throw Settings.problem(configuration, "http", "is off: status asks the running agent over it")
        }
        let body: [UInt8]
        do throws(HTTPClientError) {
            body = try HTTPClient.get(
                host: address.reachable, port: address.port, path: "/status", timeout: .seconds(5)
            ).body
        } catch {
            throw AgentExit(.unavailable, "no agent answers at \(address): \(error)", hints: ["sluice run"])
        }
        if json {
            print(String(decoding: body, as: UTF8.self))
            return
        }
        guard let document = StatusDocument(json: body) else {
            throw AgentExit(.software, "the answer of \(address) is not a status document")
        }
        print(StatusReport.text(document, isColoured: isatty(1) == 1), terminator: "")
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
