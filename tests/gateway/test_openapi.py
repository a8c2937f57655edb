from gateway.openapi import merge


def test_equal_schema_names_of_two_services_stay_apart():
    def document(path, kind):
        reference = {"$ref": "#/components/schemas/Request"}
        operation = {"requestBody": {"content": {"application/json": {"schema": reference}}}, "responses": {}}
        return {"paths": {path: {"post": operation}}, "components": {"schemas": {"Request": {"type": kind}}}}

    own = {"paths": {}}
    merged = merge(own, {"evaluator": document("/evaluate", "object"), "preprocess": document("/preprocess", "array")})
    schemas = merged["components"]["schemas"]
    assert (schemas["EvaluatorRequest"]["type"], schemas["PreprocessRequest"]["type"]) == ("object", "array")
    body = merged["paths"]["/evaluate"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"] == {"$ref": "#/components/schemas/EvaluatorRequest"}
    assert own == {"paths": {}}


def test_services_can_publish_no_other_path():
    merged = merge({"paths": {}}, {"generator": {"paths": {"/secret": {"get": {}}, "/livez": {"get": {}}}}})
    assert merged["paths"] == {}
