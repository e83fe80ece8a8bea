"""HTTPS by our servers: with a certificate authority made here; certificates that are replaced while the server runs."""
import json
import os
import socket
import ssl
import subprocess

import pytest
import requests

import mm
import test_modelmon_run as running

MODELMON = os.path.join(mm.BIN, "modelmon")


def openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True, timeout=60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def authority(folder, name="ca"):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 2, "-subj", f"/CN={name}",
            "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem")
    return folder / f"{name}.pem"


def issue(folder, serial, ca="ca", name="server"):
    """Put in place at once, as a secret is: written beside, then renamed."""
    (folder / "ext").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost", "-keyout", folder / "new.key",
            "-out", folder / "new.csr")
    openssl("x509", "-req", "-in", folder / "new.csr", "-CA", folder / f"{ca}.pem", "-CAkey", folder / f"{ca}.key", "-set_serial", serial, "-days", 2,
            "-extfile", folder / "ext", "-out", folder / "new.pem")
    os.chmod(folder / "new.key", 0o400)
    os.replace(folder / "new.key", folder / f"{name}.key")
    os.replace(folder / "new.pem", folder / f"{name}.pem")
    return {"HTTP_TLS_CERT": folder / f"{name}.pem", "HTTP_TLS_KEY": folder / f"{name}.key"}


def serial_of(port, ca):
    context = ssl.create_default_context(cafile=ca)
    with socket.create_connection(("127.0.0.1", port), 10) as plain, context.wrap_socket(plain, server_hostname="localhost") as s:
        return int(s.getpeercert()["serialNumber"], 16)


def run(binary, *args, **env):
    return subprocess.run([os.path.join(mm.BIN, binary), *args], env={"PATH": os.environ["PATH"], "DATABASE_URL": "postgresql://127.0.0.1:9/none", **env},
                          timeout=20, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_https_alone_is_served(tmp_path):
    ca = authority(tmp_path)
    tls = issue(tmp_path, 7)
    with mm.World() as w, running.start(w, embedded=True, **tls) as m:
        url = f"https://127.0.0.1:{m.port}"
        session = requests.Session()
        session.verify = str(ca)
        session.trust_env = False
        mm.wait_for(lambda: session.get(url + "/readyz", timeout=10).status_code == 200, 60, "ready")
        assert session.put(url + "/api/v1/projects/p", data="{}", timeout=10).status_code == 200
        body = "\n".join(json.dumps({"model": "m", "inputs": [[float(i)]], "outputs": [[1.0]], "pad": "x" * 500}) for i in range(2000))
        answer = session.post(url + "/p", data=body, timeout=30)
        assert answer.status_code == 202 and answer.json()["accepted"] == 2000, answer.text[:300]
        page = session.get(url + "/", timeout=10)
        assert page.status_code == 200 and page.headers["Strict-Transport-Security"].startswith("max-age=")
        signed = session.post(url + "/ui/login", data="token=abc\n", allow_redirects=False, timeout=10)
        assert "; Secure" in signed.headers["Set-Cookie"]
        with pytest.raises(requests.ConnectionError):
            requests.get(f"http://127.0.0.1:{m.port}/livez", timeout=10)
        with pytest.raises(requests.exceptions.SSLError):
            requests.get(url + "/livez", timeout=10)  # nobody here knows the authority
        for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
            old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
            old.minimum_version = old.maximum_version = version
            old.set_ciphers("ALL:@SECLEVEL=0")
            with socket.create_connection(("127.0.0.1", m.port), 10) as plain, pytest.raises((ssl.SSLError, ConnectionError)):
                old.wrap_socket(plain, server_hostname="localhost")
        assert run("modelmon", "run", "--check-ready", HTTP_PORT=str(m.port), **{k: str(v) for k, v in tls.items()}).returncode == 0
        env = {"API_URL": url, "API_CA": str(ca)}
        assert run("modelmon", "endpoints", "p", **env).returncode == 0
        assert run("modelmon", "endpoints", "p", API_URL=url).returncode == 1
        assert f"https://127.0.0.1:{m.port}" in m.text()
        raw = ssl.create_default_context(cafile=ca)
        with socket.create_connection(("127.0.0.1", m.port), 10) as plain, raw.wrap_socket(plain, server_hostname="localhost") as s:
            s.sendall(b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n")
            assert s.recv(100).startswith(b"HTTP/1.1 400")


def test_a_certificate_is_replaced_while_the_server_runs(tmp_path):
    ca = authority(tmp_path)
    tls = issue(tmp_path, 1)
    with mm.World() as w, w.service("api", **tls) as api:
        assert serial_of(api.port, ca) == 1
        kept = requests.Session()
        kept.verify, kept.trust_env = str(ca), False
        assert kept.get(f"https://localhost:{api.port}/livez", timeout=10).status_code == 200
        issue(tmp_path, 2)
        mm.wait_for(lambda: serial_of(api.port, ca) == 2, 5, "the new certificate")
        assert kept.get(f"https://localhost:{api.port}/livez", timeout=10).status_code == 200
        (tmp_path / "server.pem").write_text("nonsense")
        mm.wait_for(lambda: serial_of(api.port, ca) == 2 and [e for e in api.events("certificate") if e["level"] == "error"], 5, "the old one stays")
        authority(tmp_path, "other")
        issue(tmp_path, 3, ca="other", name="elsewhere")
        os.replace(tmp_path / "elsewhere.pem", tmp_path / "server.pem")  # whose key it is not
        mm.wait_for(lambda: serial_of(api.port, ca) == 2 and len([e for e in api.events("certificate") if e["level"] == "error"]) > 1, 5, "so here")
        issue(tmp_path, 4)
        mm.wait_for(lambda: serial_of(api.port, ca) == 4, 5, "the next one")
        assert api.term()[0] == 0


def test_what_cannot_be_is_told_at_the_start(tmp_path):
    authority(tmp_path)
    tls = {k: str(v) for k, v in issue(tmp_path, 1).items()}
    alone = run("api", HTTP_PORT="0", HTTP_TLS_CERT=tls["HTTP_TLS_CERT"])
    assert alone.returncode == 2 and "both are wanted" in alone.stdout, alone.stdout
    missing = run("api", HTTP_PORT="0", HTTP_TLS_CERT=str(tmp_path / "none.pem"), HTTP_TLS_KEY=tls["HTTP_TLS_KEY"])
    assert missing.returncode == 2 and "none.pem" in missing.stdout, missing.stdout
    wrong = run("api", HTTP_PORT="0", HTTP_TLS_CERT=tls["HTTP_TLS_CERT"], HTTP_TLS_KEY=str(tmp_path / "ca.key"))
    assert wrong.returncode == 2 and "HTTP_TLS" in wrong.stdout, wrong.stdout
    os.chmod(tmp_path / "server.key", 0o644)
    open_key = run("api", HTTP_PORT="0", **tls)
    assert open_key.returncode == 2 and "mode must be" in open_key.stdout, open_key.stdout
