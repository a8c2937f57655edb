import pytest

from services.preprocess.recipe import NAMED_RECIPES, InvalidRecipe, Recipe


@pytest.mark.parametrize("name", sorted(NAMED_RECIPES))
def test_a_stored_recipe_reads_back_as_itself(name):
    recipe = Recipe.parse(name)
    assert Recipe.parse(recipe.model_dump()) == recipe
    assert recipe.name == name


def test_an_object_is_the_rigorous_recipe_but_for_what_it_says():
    mixed = Recipe.parse({"encoding": "jpeg95", "clahe": None})
    assert mixed == Recipe.parse("rigorous").model_copy(update={"name": "custom", "encoding": "jpeg95", "clahe": None})


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ("exact", "rigorous"),
        ({"size_px": 8}, "size_px"),
        ({"sise_px": 256}, "sise_px"),
        ({"clahe": {"clip_limit": 0}}, "clahe.clip_limit"),
        ({"encoding": "webp"}, "encoding"),
        ({"duplicates": None}, "duplicates"),
        ([], "recipe"),
    ],
)
def test_a_bad_recipe_is_refused_with_the_field_that_is_wrong(bad, said):
    with pytest.raises(InvalidRecipe, match=said):
        Recipe.parse(bad)


def test_the_schema_describes_every_field():
    fields = Recipe.model_json_schema()["properties"]
    assert all("description" in field for field in fields.values())
