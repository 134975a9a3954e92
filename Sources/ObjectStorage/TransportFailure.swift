import CCurl
import Glibc

/// A request without an answer: libcurl's code, and how far the request had come.
struct TransportFailure: Error {
    let code: CURLcode
    /// libcurl's own words: hosts and system errors, nothing secret.
    let text: String
    /// A put whose whole body may have reached the store.
    let mayBeStored: Bool
    let stop: HTTPTransfer.Stop?
    /// The errno of the connection, where libcurl knows one; else 0.
    var systemError: Int32 = 0
}

extension StorageError {
    /// The one place where libcurl's codes are classified.
    init(_ failure: TransportFailure, _ operation: String, key: String?) {
        var text = failure.text
        if text.isEmpty { text = String(cString: curl_easy_strerror(failure.code)) }
        let code = "CURLE_\(failure.code.rawValue)"
        func error(_ kind: Kind, _ message: String, hint: String? = nil) -> StorageError {
            StorageError(kind, operation, key: key, code: code, message, hint: hint)
        }
        switch failure.stop {
        case .aborted?:
            self = error(.aborted, "ended by a shutdown")
            return
        case .bodyUnreadable(let number)?:
            self = StorageError(errno: number, operation, key: key, "the body cannot be read")
            return
        case .bodyTooShort?:
            self = error(.fatal, "the body's file is shorter than its stated length")
            return
        case .answerTooLong?:
            self = error(failure.mayBeStored ? .indefinite : .fatal, "the answer is longer than any of this kind")
            return
        case .sinkIsDone?, nil:
            break
        }
        // What counts first is how much the store can have: whatever it was, after that the outcome is open.
        if failure.mayBeStored {
            self = error(.indefinite, "no answer: \(text)")
            return
        }
        switch failure.code {
        case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY, CURLE_COULDNT_CONNECT:
            self = error(.transient, "cannot connect: \(text)")
        case CURLE_PEER_FAILED_VERIFICATION, CURLE_SSL_CERTPROBLEM, CURLE_SSL_ISSUER_ERROR:
            self = error(
                .fatal, "the server's certificate is not accepted: \(text)", hint: "set s3.ca_file to its authority")
        case CURLE_SSL_CACERT_BADFILE, CURLE_SSL_CRL_BADFILE:
            self = error(.fatal, text, hint: "s3.ca_file must be a readable PEM file")
        case CURLE_URL_MALFORMAT, CURLE_UNSUPPORTED_PROTOCOL, CURLE_BAD_FUNCTION_ARGUMENT, CURLE_UNKNOWN_OPTION,
            CURLE_NOT_BUILT_IN:
            self = error(.fatal, text)
        default:
            // Time-outs, cut connections, TLS in the middle.
            self = error(.transient, "no answer: \(text)")
        }
    }

    /// The one place where errno is classified.
    init(errno number: Int32, _ operation: String, key: String?, _ message: String) {
        let kind: Kind
        var hint: String?
        switch number {
        case ENOENT: kind = .notFound
        case EACCES, EPERM, EROFS:
            kind = .denied
            hint = "the agent's user must be able to write there"
        case ENAMETOOLONG:
            kind = .fatal
            hint = "a file system's names are at most 255 bytes, and some are taken for the metadata's"
        case ENOTDIR, EISDIR, ELOOP, EINVAL, EBADF, EXDEV, EMLINK: kind = .fatal
        // A full disk, too many open files, a disk that hiccups: the same again may work.
        default: kind = .transient
        }
        let text = String(cString: strerror(number))
        self.init(kind, operation, key: key, code: Self.name(ofErrno: number), "\(message): \(text)", hint: hint)
    }

    /// Whether it is one of these errors of the system.
    func isErrno(_ numbers: Int32...) -> Bool {
        numbers.contains { code == Self.name(ofErrno: $0) }
    }

    /// The system's name of an error, as metrics show it.
    static func name(ofErrno number: Int32) -> String {
        switch number {
        case EACCES: "EACCES"
        case EBADF: "EBADF"
        case EDQUOT: "EDQUOT"
        case EEXIST: "EEXIST"
        case EFBIG: "EFBIG"
        case EINVAL: "EINVAL"
        case EIO: "EIO"
        case EISDIR: "EISDIR"
        case ELOOP: "ELOOP"
        case EMFILE: "EMFILE"
        case EMLINK: "EMLINK"
        case ENAMETOOLONG: "ENAMETOOLONG"
        case ENFILE: "ENFILE"
        case ENODEV: "ENODEV"
        case ENOENT: "ENOENT"
        case ENOMEM: "ENOMEM"
        case ENOSPC: "ENOSPC"
        case ENOTDIR: "ENOTDIR"
        case ENXIO: "ENXIO"
        case EOPNOTSUPP: "EOPNOTSUPP"
        case EPERM: "EPERM"
        case EROFS: "EROFS"
        case ESTALE: "ESTALE"
        case ETIMEDOUT: "ETIMEDOUT"
        case EXDEV: "EXDEV"
        default: "errno \(number)"
        }
    }
}
