import Glibc

/// Where the HTTP listener binds.
public struct ListenAddress: Sendable, Equatable, CustomStringConvertible {
    /// A numeric address, IPv4 or IPv6 without brackets.
    public let host: String
    /// 0 stands for any free port.
    public let port: UInt16

    /// Reads `127.0.0.1:9465`, `[::1]:9465` or `localhost:9465`; nil for anything else. A name other than localhost is no address.
    public init?(_ text: String) {
        guard let (host, port) = HostAndPort.split(text), let port else { return nil }
        let numeric = host == "localhost" ? "127.0.0.1" : host
        var v4 = in_addr()
        var v6 = in6_addr()
        guard inet_pton(AF_INET, numeric, &v4) == 1 || inet_pton(AF_INET6, numeric, &v6) == 1 else { return nil }
        self.host = numeric
        self.port = port
    }

    /// `host:port`, the host in brackets if it is IPv6.
    public var description: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

enum HostAndPort {
    /// Splits at the last colon outside of brackets; a missing port is nil, a wrong one makes the whole nil.
    static func split(_ text: String) -> (host: String, port: UInt16?)? {
        var host = Substring(text)
        var portText: Substring?
        if host.first == "[" {
            guard let close = host.firstIndex(of: "]") else { return nil }
            let after = host[host.index(after: close)...]
            host = host[host.index(after: host.startIndex)..<close]
            if !after.isEmpty {
                guard after.first == ":" else { return nil }
                portText = after.dropFirst()
            }
        } else if let colon = host.firstIndex(of: ":") {
            portText = host[host.index(after: colon)...]
            host = host[..<colon]
        }
        guard !host.isEmpty, host.utf8.allSatisfy(isHostByte) else { return nil }
        guard let portText else { return (String(host), nil) }
        guard !portText.isEmpty, portText.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let port = UInt16(portText)
        else {
            return nil
        }
        return (String(host), port)
    }

    private static func isHostByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "."), UInt8(ascii: "-"), UInt8(ascii: "_"), UInt8(ascii: ":"), UInt8(ascii: "%"):
            return true
        default: return false
        }
    }
}

/// Where objects go.
public enum ObjectLocation: Sendable, Equatable {
    /// `s3://bucket/prefix`; the prefix has no slash at either end and may be empty.
    case bucket(name: String, prefix: String)
    /// `file:///directory`: an absolute path without a slash at its end.
    case directory(String)

    /// Reads one of the two; nil for anything else.
    public init?(_ text: String) {
        if let path = text.dropping("file://") {
            let trimmed = Self.trimmed(path)
            guard path.first == "/", !trimmed.isEmpty, Self.isPlainPath(trimmed) else { return nil }
            self = .directory("/" + trimmed)
        } else if let rest = text.dropping("s3://") {
            let slash = rest.firstIndex(of: "/") ?? rest.endIndex
            let bucket = String(rest[..<slash])
            let prefix = Self.trimmed(rest[slash...])
            guard Self.isBucket(bucket), prefix.isEmpty || Self.isPlainPath(prefix), !Self.hasHiddenPart(prefix)
            else { return nil }
            self = .bucket(name: bucket, prefix: prefix)
        } else {
            return nil
        }
    }

    private static func trimmed(_ path: Substring) -> String {
        var path = path
        while path.first == "/" { path.removeFirst() }
        while path.last == "/" { path.removeLast() }
        return String(path)
    }

    /// No empty part, no `.` or `..`, nothing that a URL reads otherwise.
    private static func isPlainPath(_ path: String) -> Bool {
        path.split(separator: "/", omittingEmptySubsequences: false).allSatisfy { part in
            !part.isEmpty && part != "." && part != ".."
                && part.unicodeScalars.allSatisfy {
                    $0.value >= 0x20 && $0.value != 0x7F && !"?#%\\".unicodeScalars.contains($0)
                }
        }
    }

    /// Readers of a lake (Hive, Spark) pass over what begins with a dot.
    private static func hasHiddenPart(_ path: String) -> Bool {
        path.split(separator: "/").contains { $0.hasPrefix(".") }
    }

    private static func isBucket(_ name: String) -> Bool {
        (3...63).contains(name.utf8.count)
            && name.unicodeScalars.allSatisfy { scalar in
                switch scalar {
                case "a"..."z", "A"..."Z", "0"..."9", ".", "-", "_": true
                default: false
                }
            }
    }
}

extension String {
    /// What follows `prefix`, if the text begins with it.
    func dropping(_ prefix: String) -> Substring? {
        utf8.starts(with: prefix.utf8) ? self[utf8.index(startIndex, offsetBy: prefix.utf8.count)...] : nil
    }
}
