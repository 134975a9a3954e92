/// What a route answers.
public struct HTTPResponse: Sendable, Equatable {
    /// The status: 200, 503.
    public let status: UInt32
    /// The media type of the body.
    public let contentType: String
    /// The body.
    public let body: [UInt8]

    /// An answer.
    public init(status: UInt32 = 200, contentType: String = "text/plain; charset=utf-8", body: [UInt8]) {
        self.status = status
        self.contentType = contentType
        self.body = body
    }

    /// An answer of text.
    public init(status: UInt32 = 200, contentType: String = "text/plain; charset=utf-8", text: String) {
        self.init(status: status, contentType: contentType, body: Array(text.utf8))
    }

    /// All metrics of a registry.
    public static func metrics(_ registry: MetricsRegistry) -> HTTPResponse {
        HTTPResponse(contentType: PrometheusText.contentType, text: registry.prometheusText())
    }

    /// A status document as JSON.
    public static func status(_ document: StatusDocument) -> HTTPResponse {
        HTTPResponse(contentType: "application/json", text: document.json())
    }

    /// The page for a browser, which asks for `/status` by itself.
    public static let page = HTTPResponse(contentType: "text/html; charset=utf-8", text: StatusPage.html)
}

/// Answers a GET or HEAD of one path. Called on a thread of the listener, several at once: it must be quick, and never wait.
public typealias HTTPRoute = @Sendable () -> HTTPResponse
