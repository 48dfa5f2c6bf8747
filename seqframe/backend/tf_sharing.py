"""TensorFlow: of programs that compute the same, one serves all.

TensorFlow keeps what XLA compiled until the process ends: some megabytes for each traced function,
even if an equal one was traced from another model before.
"""

from collections import OrderedDict
from hashlib import sha256
from threading import Lock
from typing import Any

_KEPT = 64  # programs, those used last

_programs: OrderedDict[bytes, Any] = OrderedDict()
_lock = Lock()

#: Attributes that do not change what an operation computes, but differ from trace to trace.
_IDLE = ("_class", "_gradient_op_type", "_user_specified_name")


def shared(program: Any) -> Any:
    """Return an earlier program that computes the same as this one; this one if there is none.

    A program that uses values besides its arguments, such as constants of a layer, is its own.

    Args:
        program: ConcreteFunction.
    """
    if program.captured_inputs:
        return program
    key = digest(program)
    with _lock:
        found = _programs.setdefault(key, program)
        _programs.move_to_end(key)
        if len(_programs) > _KEPT:
            _programs.popitem(last=False)
    return found


def digest(program: Any) -> bytes:
    """Return a digest of all that decides what a program computes from its arguments.

    These are its operations and how they are joined, with numbers in place of their names. Names
    hold the names of layers and a count of functions, so they differ from model to model.
    """
    library = program.graph.as_graph_def().library.function
    inner = {function.signature.name: function for function in library}
    root = type(program.function_def)()
    root.CopyFrom(program.function_def)
    functions, numbers = [root], {root.signature.name: "0"}
    parts: list[Any] = [program.structured_input_signature, program.structured_outputs]
    for function in functions:  # which grows by those that it calls
        for node in function.node_def:
            for _, attribute in sorted(node.attr.items()):
                single = [attribute.func] if attribute.HasField("func") else []
                for called in (*single, *attribute.list.func):
                    if called.name in inner and called.name not in numbers:
                        numbers[called.name] = str(len(numbers))
                        functions.append(inner[called.name])
                    called.name = numbers.get(called.name, called.name)
        function.signature.name = numbers[function.signature.name]
        parts += [_number(function), function.SerializeToString(deterministic=True)]
    return sha256(repr(parts).encode()).digest()


def _number(function: Any) -> list[Any]:
    """Replace the names in a FunctionDef by numbers, and return what it returns."""
    signature = function.signature
    named = [*signature.input_arg, *function.node_def]
    numbers = {each.name: str(number) for number, each in enumerate(named)}

    def numbered(source: str) -> str:
        """Return a source, such as "^name" or "name:output:0", with a number for the name."""
        name, *output = source.removeprefix("^").split(":")
        return ":".join(["^"[: source.startswith("^")] + numbers[name], *output])

    for each in named:
        each.name = numbers[each.name]
    for node in function.node_def:
        node.input[:] = [numbered(source) for source in node.input]
        node.ClearField("experimental_debug_info")
    for attributes in [node.attr for node in function.node_def] + [
        each.attr for each in function.arg_attr.values()
    ]:
        for name in _IDLE:
            attributes.pop(name, None)
    returned = [numbered(function.ret[each.name]) for each in signature.output_arg]
    always = sorted(numbered(source) for source in function.control_ret.values())
    for number, each in enumerate(signature.output_arg):
        each.name = str(number)
    signature.ClearField("control_output")
    function.ClearField("ret")
    function.ClearField("control_ret")
    return [returned, always]
