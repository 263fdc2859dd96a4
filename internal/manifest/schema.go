package manifest

import (
	"bytes"
	"encoding/json"
)

// SchemaID is the identity of the published schema; nothing is fetched from it.
const SchemaID = "https://perdure.internal/schema/perdure-v1.schema.json"

// Schema writes the JSON Schema (2020-12) of one document, for editors and other tools.
// It accepts exactly the documents in which Parse finds nothing structural.
func Schema() []byte {
	definitions, branches, names := map[string]any{}, []any{}, []string{}
	for _, k := range kinds() {
		d := k.shape.JSONSchema()
		d["description"] = k.doc
		definitions[k.name] = d
		names = append(names, k.name)
		branches = append(branches, map[string]any{
			"if":   map[string]any{"properties": map[string]any{"kind": map[string]any{"const": k.name}}, "required": []string{"kind"}},
			"then": map[string]any{"$ref": "#/$defs/" + k.name},
		})
	}
	return write(map[string]any{
		"$schema":     "https://json-schema.org/draft/2020-12/schema",
		"$id":         SchemaID,
		"title":       "Perdure manifest",
		"description": "One document of a Perdure manifest, " + APIVersion + ".",
		"type":        "object",
		"required":    []string{"apiVersion", "kind"},
		"properties":  map[string]any{"apiVersion": map[string]any{"const": APIVersion}, "kind": map[string]any{"enum": names}},
		"allOf":       branches,
		"$defs":       definitions,
	})
}

func write(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		panic("manifest: the schema is not JSON: " + err.Error())
	}
	return b.Bytes()
}
