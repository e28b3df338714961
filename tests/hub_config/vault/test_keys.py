from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from standins.transit import TOKEN, Transit
from strongroom_hub.config import Instance
from strongroom_hub.problems import Problem
from strongroom_hub.vault import keyfiles, setup, transit
from strongroom_hub.vault.keyfiles import LocalKeyService, Passphrase
from strongroom_hub.vault.keys import Keys, KeyService, KeyUse, WrappedKey, new_key
from strongroom_hub.vault.settings import VaultSettings
from strongroom_hub.vault.transit import TransitKeyService, TransitSettings

USE = KeyUse.slot("a/b", 1, "table", "x")


def put_master(folder: Path, number: int = 1) -> Path:
    file = folder / f"master-{number}.key"
    file.write_bytes(os.urandom(32))
    file.chmod(0o600)
    return file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    put_master(tmp_path)
    return tmp_path


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Iterator[Transit]:
    monkeypatch.setattr(transit, "PAUSE_SECONDS", 0.0)
    one = Transit()
    yield one
    one.close()


def transit_settings(engine: Transit, folder: Path) -> TransitSettings:
    (folder / "token").write_text(TOKEN + "\n")
    return TransitSettings(address=engine.address, key="strongroom", token_file=folder / "token")


@pytest.fixture(params=["local", "transit"])
def service(request: pytest.FixtureRequest, folder: Path, engine: Transit) -> KeyService:
    if request.param == "local":
        return LocalKeyService(folder)
    return TransitKeyService(transit_settings(engine, folder))


def test_a_key_opens_only_for_what_it_was_wrapped_for(service: KeyService) -> None:
    key = new_key()
    wrapped = service.wrap(key, USE)
    assert service.unwrap(wrapped, USE) == key
    assert wrapped.kek == service.current
    assert service.wrap(key, USE) != wrapped
    others = [
        KeyUse.slot("a/b", 2, "table", "x"),
        KeyUse.slot("a/c", 1, "table", "x"),
        KeyUse.slot("a/b", 1, "table", "y"),
        KeyUse.slot("a/b", 1, "synthetic", "x"),
        KeyUse.export("a/b", "x"),
    ]
    for other in others:
        with pytest.raises(Problem, match="was not wrapped for it"):
            service.unwrap(wrapped, other)
    for broken in (WrappedKey("local:9", wrapped.wrapped), WrappedKey(wrapped.kek, "AAAA"), WrappedKey("?", "?")):
        with pytest.raises(Problem) as refused:
            service.unwrap(broken, USE)
        assert wrapped.wrapped not in str(refused.value.as_json())


def test_generations_come_and_go(service: KeyService) -> None:
    key, first = new_key(), service.current
    old = service.wrap(key, USE)
    second = service.rotate()
    assert (service.current, service.generations()) == (second, [first, second])
    new = service.wrap(key, USE)
    assert new.kek == second
    assert service.unwrap(old, USE) == service.unwrap(new, USE) == key
    for no in (second, "local:77", "transit:strongroom:77"):
        with pytest.raises(Problem) as refused:
            service.destroy(no)
        assert refused.value.slug == "master-key"
    service.destroy(first)
    assert service.generations() == [second]
    assert service.unwrap(new, USE) == key
    with pytest.raises(Problem, match="was not wrapped for it"):
        service.unwrap(old, USE)


def test_uses_cannot_be_confused_by_their_words() -> None:
    assert KeyUse.slot("a", 1, "table", "b").as_bytes() != KeyUse.slot("a", 11, "table", "b").as_bytes()
    assert KeyUse(("a", "bc")).as_bytes() != KeyUse(("ab", "c")).as_bytes()


def test_project_keys_outlive_every_master_key(service: KeyService, tmp_path: Path) -> None:
    root = tmp_path / "root.json"
    one = Keys(service, root, may_create=True)
    pseudonyms = one.project_key("cardio")
    assert len(bytes.fromhex(pseudonyms)) == 32
    assert pseudonyms != one.project_key("elections")
    first = service.current
    service.rotate()
    assert (one.rewrap_root(), one.rewrap_root()) == (1, 0)
    service.destroy(first)
    assert Keys(service, root, may_create=False).project_key("cardio") == pseudonyms
    root.write_text("{}")
    with pytest.raises(Problem, match="holds no wrapped key"):
        Keys(service, root, may_create=False)
    root.unlink()
    with pytest.raises(Problem, match="is gone"):
        Keys(service, root, may_create=False)
    assert Keys(service, root, may_create=True).project_key("cardio") != pseudonyms


@pytest.mark.parametrize(
    ("mode", "size", "words"), [(0o640, 32, "read by others"), (0o600, 31, "32"), (0o600, 33, "32")]
)
def test_an_unsafe_key_file_is_not_used(folder: Path, mode: int, size: int, words: str) -> None:
    master = folder / "master-1.key"
    master.write_bytes(b"k" * size)
    master.chmod(mode)
    with pytest.raises(Problem, match=words):
        LocalKeyService(folder)
    master.unlink()
    with pytest.raises(Problem, match="holds no master key"):
        LocalKeyService(folder)


def test_a_passphrase_seals_the_files_from_its_first_start_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setattr(keyfiles, "_SCRYPT", {"n": 1 << 4, "r": 8, "p": 1})
    credentials = tmp_path_factory.mktemp("credentials")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    (credentials / "phrase").write_text("correct horse\n")
    phrase = Passphrase("credential:phrase")
    master = (folder / "master-1.key").read_bytes()
    wrapped = LocalKeyService(folder).wrap(new_key(), USE)
    first = LocalKeyService(folder, passphrase=phrase)
    sealed = (folder / "master-1.key").read_bytes()
    assert master not in sealed
    assert sealed.startswith(b'{"format": "strongroom-master/1"')
    assert first.rotate() == "local:2"
    again = LocalKeyService(folder, passphrase=phrase)
    assert len(again.unwrap(wrapped, USE)) == 32
    assert again.generations() == ["local:1", "local:2"]
    with pytest.raises(Problem, match="sealed under a passphrase"):
        LocalKeyService(folder)
    (credentials / "phrase").write_text("wrong\n")
    with pytest.raises(Problem, match="does not open with this passphrase") as refused:
        LocalKeyService(folder, passphrase=phrase)
    assert "wrong" not in str(refused.value.as_json())


def test_a_passphrase_comes_over_a_descriptor_and_never_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    ours, theirs = os.pipe()
    os.write(theirs, b"correct horse\r\n")
    os.close(theirs)
    assert Passphrase(f"fd:{ours}").read() == b"correct horse"
    with pytest.raises(Problem, match="cannot be read"):  # it is gone once it was read
        Passphrase(f"fd:{ours}").read()
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(Problem, match="no systemd credentials"):
        Passphrase("credential:phrase").read()


def test_master_keys_can_be_systemd_credentials(tmp_path: Path) -> None:
    for number in (1, 2):
        put_master(tmp_path, number).rename(tmp_path / f"strongroom-master-{number}.key")
    service = LocalKeyService(tmp_path, fixed=True)
    assert service.generations() == ["local:1", "local:2"]
    with pytest.raises(Problem, match="does not write"):
        service.rotate()
    with pytest.raises(Problem, match="does not remove"):
        service.destroy("local:1")


def test_an_absent_engine_is_asked_again_and_then_said_so(engine: Transit, tmp_path: Path) -> None:
    service = TransitKeyService(transit_settings(engine, tmp_path))
    wrapped = service.wrap(new_key(), USE)
    engine.failures = 2
    assert len(service.unwrap(wrapped, USE)) == 32
    engine.failures = 99
    with pytest.raises(Problem, match="gave no usable answer") as refused:
        service.unwrap(wrapped, USE)
    assert (refused.value.status, refused.value.why) == (503, ("it answered 503",))
    engine.failures = 0
    engine.close()
    with pytest.raises(Problem, match="gave no usable answer"):
        service.unwrap(wrapped, USE)


def test_the_token_is_read_anew_and_stays_out_of_words(engine: Transit, tmp_path: Path) -> None:
    settings = transit_settings(engine, tmp_path)
    service = TransitKeyService(settings)
    settings.token_file.write_text("s.other")
    with pytest.raises(Problem, match="status 403") as refused:
        service.wrap(new_key(), USE)
    assert "s.other" not in str(refused.value.as_json())
    settings.token_file.write_text(TOKEN)
    service.wrap(new_key(), USE)
    settings.token_file.write_text("")
    with pytest.raises(Problem, match="is empty"):
        service.wrap(new_key(), USE)
    settings.token_file.unlink()
    with pytest.raises(Problem, match="cannot be read"):
        service.wrap(new_key(), USE)


def test_a_key_that_binds_nothing_is_refused(engine: Transit, tmp_path: Path) -> None:
    engine.key_type = "rsa-4096"
    with pytest.raises(Problem, match="not 'aes256-gcm96'"):
        TransitKeyService(transit_settings(engine, tmp_path))


@pytest.mark.parametrize("address", ["http://vault.example", "ftp://x", "https://user:pw@vault.example", "https://x/y"])
def test_only_https_and_the_machine_itself_are_asked(address: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="address"):
        TransitSettings(address=address, key="k", token_file=tmp_path / "t")


_S3 = "[store]\nkind = 's3'\n[store.s3]\nbucket = 'b-1'\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("keys = 1", "keys"),
        ("[keys]\nservice = 'aws'", "keys.service"),
        ("[keys]\npassphrase = 'hunter2'", "keys.passphrase"),
        ("[keys]\nservice = 'transit'", "keys.transit belongs"),
        ("[keys]\nservice = 'credential'\npassphrase = 'fd:3'", "belongs to service = 'local'"),
        ("[other]", "other: there is no such setting"),
        ("[", "vault.toml"),
        ("memory = 5", "memory: it must be a section of its own"),
        ("[memory]\nkernel = 8", "memory.kernel: it must be at least 16"),
        ("[memory]\nall = '4 GB'", "memory.all: it must be a whole number"),
        ("[memory]\ncache = 1.5", "memory.cache: it must be a whole number"),
        ("[memory]\nkernels = 64", "memory.kernels: there is no such setting"),
        ("[streams]\nperson = 0", "streams.person: it must be at least 1"),
        ("[streams]\nall = 1000", "streams.all: it must be at most 256"),
        ("[streams]\nidle = true", "streams.idle: it must be a whole number"),
        ("[streams]\nbatch = -1", "streams.batch: it must be at least 1"),
        ("[intake]\ndraft_hours = 0", "intake.draft_hours: it must be at least 1"),
        ("[intake]\nupload_hours = 'week'", "intake.upload_hours: it must be a whole number"),
        ("[intake]\nhours = 5", "intake.hours: there is no such setting"),
        ("[store]\nkind = 'ftp'", "store.kind: it must be"),
        ("[store]\nkind = 's3'", "store.s3 belongs to kind = 's3'"),
        ("[store.s3]\nbucket = 'b-1'\ncredentials = '/c'", "store.s3 belongs to kind = 's3'"),
        (_S3 + "credentials = 'hunter2'", "store.s3.credentials"),
        (_S3 + "secret_key = 'hunter2'", "store.s3.secret_key: there is no such setting"),
        (_S3 + "credentials = '/c'\nendpoint = 'http://10.0.0.1'", "store.s3.endpoint"),
        ("[keys.transit]\naddress = 'ftp://x'\nkey = 'k'\ntoken_file = '/t'", "keys.transit"),
        ("[streams]\nall = 0\nperson = 0", "streams.all.*streams.person"),
    ],
)
def test_settings_that_are_not_understood_stop_the_vault(instance: Instance, text: str, words: str) -> None:
    (instance.data / "vault.toml").write_text(text)
    with pytest.raises(Problem, match=words) as refused:
        VaultSettings.load(instance)
    assert "hunter2" not in str(refused.value.as_json())


def test_set_up_again_changes_nothing(instance: Instance) -> None:
    files = [
        *instance.vault_dir.rglob("*.key"),
        *instance.vault_dir.rglob("*.pem"),
        instance.public_dir / "vault.pub.pem",
    ]
    before = {file: file.read_bytes() for file in files}
    setup.create(instance)
    assert {file: file.read_bytes() for file in files} == before
    assert len(before) == 3
    assert {file.stat().st_mode & 0o777 for file in files[:2]} == {0o600}
    assert files[2].stat().st_mode & 0o777 == 0o644


def test_set_up_never_replaces_a_lost_master_key_over_data(instance: Instance) -> None:
    (instance.vault_dir / "keys" / "master-1.key").unlink()
    (instance.vault_dir / "store" / "health").mkdir()
    with pytest.raises(Problem, match="holds no master key"):
        setup.create(instance)


def test_set_up_restores_a_lost_public_key(instance: Instance) -> None:
    public = instance.public_dir / "vault.pub.pem"
    before = public.read_bytes()
    public.write_bytes(b"another")
    setup.create(instance)
    assert public.read_bytes() == before
    (instance.vault_dir / "keys" / "receipt.pem").write_bytes(b"rubbish")
    with pytest.raises(Problem, match="no Ed25519 private key"):
        setup.create(instance)
