import components
from components.arguments import Arguments


def test_every_argument_of_a_component_is_described() -> None:
    for name in components.__all__:
        args = getattr(components, name)
        if name.endswith("Args") and issubclass(args, Arguments):
            assert args.model_fields.keys() == args.descriptions().keys(), name
