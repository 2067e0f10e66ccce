"""Policies by file path, ``module:Name``, entry point or short name, or several joined by ``+``; made anew for a run.

A :class:`PolicyReference` is text and a hash, so it travels to worker processes without pickling code; each run
calls :meth:`PolicyReference.create`, which executes a policy file afresh, so that no run inherits another's state.
"""

import hashlib
import importlib
import importlib.metadata
import inspect
import sys
import traceback
import types
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scenariogen.errors import PolicyError, Problems, ResultsError
from scenariogen.evaluation.combined import Combined
from scenariogen.simulation.contract import Policy

ENTRY_POINTS = "scenariogen.policies"
PLUS = "+"
"""Between the names of several policies that run as one."""
JOINED = " + "
"""The same between their specs, for people to read."""


@dataclass(frozen=True, kw_only=True)
class PolicyReference:
    """Where a policy comes from.

    ``name``    what tables and reports call it
    ``spec``    an absolute file path or a module, with ``:Name`` where a class is named; ``learned:`` and the absolute
                path of an agent; of several policies in one, all of them
    ``sha256``  hash of the file that defines it, or of all; what those files import is not part of it. Of an agent: of
                its file and of the code that runs it
    ``reads_incidents``  whether it asks what incidents are known
    ``parts``   the specs of several policies in one
    """

    name: str
    spec: str
    sha256: str = field(repr=False)
    reads_incidents: bool = field(default=True, repr=False)
    parts: tuple[str, ...] = field(default=(), repr=False)

    def create(self) -> Policy:
        """A new instance, or a ``PolicyError`` with the file's own message and line. Raises ``ResultsError`` where the
        file has changed: runs of two versions must not be mixed."""
        if self.sha256_now() != self.sha256:
            raise ResultsError(
                f"the policy {self.spec} has changed since the evaluation began: run the same command again, which "
                "makes its runs anew"
            )
        made = [_made(spec) for spec in self.parts or (self.spec,)]
        return made[0] if len(made) == 1 else Combined(made)

    def sha256_now(self) -> str:
        """The hash as it would be today."""
        return _hash_of_parts([_hash(spec) for spec in self.parts or (self.spec,)])


def _hash(spec: str) -> str:
    agent = _agent_path(spec)
    path, name = _path_and_name(spec)
    try:
        if agent is not None:
            from scenariogen.evaluation import learned

            content = inspect.getsource(learned).encode() + agent.read_bytes()
        elif path.endswith(".py"):
            content = Path(path).read_bytes()
        else:
            module = _module(path, spec)
            location = getattr(module, "__file__", None)
            content = Path(location).read_bytes() if location else inspect.getsource(_pick(module, name, spec)).encode()
    except OSError as error:
        raise PolicyError(f"the policy {spec} cannot be read: {error.strerror}") from error
    return hashlib.sha256(content).hexdigest()


def _hash_of_parts(hashes: Sequence[str]) -> str:
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def _made(spec: str) -> Policy:
    """A new instance of one policy."""
    return _learned(spec) if _agent_path(spec) is not None else _instance(_load_class(spec)[0], spec)


def policy_folder() -> Path:
    """Where the policies that come with scenariogen lie: inside the wheel, or beside the package in a clone."""
    package = Path(__file__).resolve().parent.parent
    shared = package / "_share" / "policies"
    return shared if shared.is_dir() else package.parent / "policies"


def known_policies() -> tuple[str, ...]:
    """Short names that :func:`resolve_policy` accepts: the policies that come along, then installed ones."""
    shipped = sorted(path.stem for path in policy_folder().glob("*.py") if not path.stem.startswith("_"))
    installed = sorted(entry.name for entry in importlib.metadata.entry_points(group=ENTRY_POINTS))
    return tuple(dict.fromkeys([*shipped, *installed]))


def load_policy(name_or_path: str | Path) -> Policy:
    """A new policy from a file path, ``module:Name``, an entry point, a short name, or ``learned:`` an agent's file.

    Raises ``PolicyError`` that says what is wrong with the file, on which line, and which names are known.
    """
    return resolve_policy(name_or_path).create()


def resolve_policy(name_or_path: str | Path) -> PolicyReference:
    """Where a policy comes from, after it has been loaded once to see that it can be."""
    text = str(name_or_path)
    if PLUS in text and not (_agent_path(text) or Path(text)).exists():
        return _together(text)
    spec = _full_spec(text)
    if _agent_path(spec) is not None:
        policy = _learned(spec)
        name = policy.name
    else:
        kind, file = _load_class(spec)
        policy = _instance(kind, spec)
        name = str(policy.name or (file.stem if file is not None else kind.__name__))
    return PolicyReference(name=name, spec=spec, sha256=_hash(spec), reads_incidents="incidents" in policy.reads)


def _together(text: str) -> PolicyReference:
    """Several policies in one, from what a user typed as ``a+b``; what is wrong with each of them is listed."""
    problems, parts = Problems(f"policy {text!r}"), []
    for each in text.split(PLUS):
        try:
            parts.append(resolve_policy(each.strip()))
        except PolicyError as error:
            problems.extend(error.problems)
    names = [part.name for part in parts]
    problems.extend(f"{name} is named twice; name each once" for name in dict.fromkeys(names) if names.count(name) > 1)
    problems.raise_as(PolicyError)
    return PolicyReference(
        name=PLUS.join(names),
        spec=JOINED.join(part.spec for part in parts),
        parts=tuple(part.spec for part in parts),
        sha256=_hash_of_parts([part.sha256 for part in parts]),
        reads_incidents=any(part.reads_incidents for part in parts),
    )


def resolve_policies(names_or_paths: Sequence[str | Path]) -> tuple[PolicyReference, ...]:
    """Several policies at once. Every problem is listed; two policies of one name are refused."""
    problems = Problems("policies")
    found: dict[str, PolicyReference] = {}
    for name in names_or_paths:
        try:
            reference = resolve_policy(name)
        except PolicyError as error:
            problems.extend(error.problems)
            continue
        other = found.setdefault(reference.name, reference)
        if other.spec != reference.spec:
            problems.add(
                f"{other.spec} and {reference.spec} are both named {reference.name!r}; set `name` in one of the classes"
            )
        elif other is not reference:
            problems.add(f"policy {reference.name!r} is given twice; name each once")
    if not found and not problems:
        problems.add(f"none is given; name at least one, for example {', '.join(known_policies()[:2])}")
    problems.raise_as(PolicyError)
    return tuple(found.values())


def _full_spec(text: str) -> str:
    """Absolute path, ``path:Name``, or ``module:Name`` of what a user typed."""
    agent = _agent_path(text)
    if agent is not None:
        if not agent.is_file():
            raise PolicyError(f"the agent's file {agent} does not exist")
        return f"{text.partition(':')[0]}:{agent.resolve()}"
    path, _, name = text.partition(":") if not Path(text).exists() else (text, "", "")
    suffix = f":{name}" if name else ""
    if path.endswith(".py") or "/" in path or "\\" in path:
        if not Path(path).is_file():
            known = ", ".join(known_policies())
            raise PolicyError(f"the policy file {path} does not exist; give a path to one, or one of: {known}")
        return f"{Path(path).resolve()}{suffix}"
    if name:
        return text
    shipped = policy_folder() / f"{text}.py"
    if text.isidentifier() and shipped.is_file():
        return str(shipped.resolve())
    for entry in importlib.metadata.entry_points(group=ENTRY_POINTS):
        if entry.name == text:
            return entry.value
    raise PolicyError(
        f"no policy is named {text!r}; expected a path such as policies/mine.py, module:Name, "
        f"or one of: {', '.join(known_policies())}"
    )


def _agent_path(spec: str) -> Path | None:
    """The file of ``learned:FILE`` and ``learned-with-pickle:FILE``; None for what is no learned policy."""
    scheme, _, path = spec.partition(":")
    return Path(path) if path and scheme in ("learned", "learned-with-pickle") else None


def _learned(spec: str) -> Policy:
    from scenariogen.evaluation.learned import WITH_PICKLE, LearnedPolicy

    scheme, _, path = spec.partition(":")
    return LearnedPolicy(Path(path), with_pickle=scheme == WITH_PICKLE)


def _load_class(spec: str) -> tuple[type[Policy], Path | None]:
    """The policy class and the file that it stands in."""
    path, name = _path_and_name(spec)
    if path.endswith(".py"):
        file = Path(path)
        return _pick(_run_file(file), name, spec), file
    module = _module(path, spec)
    location = getattr(module, "__file__", None)
    return _pick(module, name, spec), Path(location) if location else None


def _path_and_name(spec: str) -> tuple[str, str]:
    """File or module, and the class where one is named."""
    path, _, name = spec.rpartition(":")
    return (path, name) if path and name.isidentifier() else (spec, "")


def _module(path: str, spec: str) -> types.ModuleType:
    try:
        return importlib.import_module(path)
    except Exception as error:
        raise PolicyError(f"{spec}: module {path} cannot be imported: {_where(error)}") from error


def _run_file(file: Path) -> types.ModuleType:
    """Execute a policy file as a new module. Nothing is written beside it, unlike by an import."""
    try:
        source = file.read_bytes()
    except OSError as error:
        raise PolicyError(f"the policy file {file} cannot be read: {error.strerror}") from error
    module = types.ModuleType(f"scenariogen_policy_{hashlib.sha256(str(file).encode()).hexdigest()[:12]}")
    module.__file__ = str(file)
    sys.modules[module.__name__] = module  # dataclasses look their module up while it runs
    try:
        exec(compile(source, str(file), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        raise PolicyError(f"{file} raises when loaded: {_where(error, file)}") from error
    return module


def _pick(module: types.ModuleType, name: str, spec: str) -> type[Policy]:
    if name:
        kind = getattr(module, name, None)
        if not (isinstance(kind, type) and issubclass(kind, Policy)):
            raise PolicyError(f"{spec}: {name} is not a subclass of scenariogen.simulation.contract.Policy")
        return kind
    own = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Policy) and value.__module__ == module.__name__
    ]
    # A base class inside the file is not a policy of its own.
    leaves = [
        kind for kind in dict.fromkeys(own) if not any(other is not kind and kind in other.__mro__ for other in own)
    ]
    if not leaves:
        raise PolicyError(
            f"{spec} holds no policy; expected one class derived from scenariogen.simulation.contract.Policy"
        )
    if len(leaves) > 1:
        names = ", ".join(kind.__name__ for kind in leaves)
        raise PolicyError(f"{spec} holds several policies ({names}); choose one with {spec}:{leaves[0].__name__}")
    return leaves[0]


def _instance(kind: type[Policy], spec: str) -> Policy:
    from scenariogen.evaluation.policy_room import problems_of_declaration

    try:
        policy = kind()
    except Exception as error:
        raise PolicyError(f"{spec}: {kind.__name__}() raises: {_where(error)}") from error
    problems = Problems(f"{spec}: {kind.__name__}")
    problems.extend(problems_of_declaration(policy))
    problems.raise_as(PolicyError)
    return policy


def _where(error: BaseException, file: Path | None = None) -> str:
    """``ValueError: message (line 12: code)``, the line being the deepest one inside ``file``."""
    text = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        return f"{type(error).__name__}: {error.msg} (line {error.lineno}: {(error.text or '').strip()})"
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if file is not None and frame.filename == str(file)]
    if own:
        return f"{text} (line {own[-1].lineno}: {own[-1].line})"
    last = [frame for frame in frames if "importlib" not in frame.filename and frame.filename != __file__]
    return f"{text} ({Path(last[-1].filename).name}, line {last[-1].lineno})" if last else text


def describe_failure(error: BaseException, reference: PolicyReference) -> str:
    """One line about a policy that raised during a run: message, file and line."""
    file = Path(reference.spec.rpartition(":")[0] or reference.spec)
    return f"{reference.name}: {_where(error, file if file.suffix == '.py' else Path(reference.spec))}"
