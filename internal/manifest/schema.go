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
		d := k.shape.schema()
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

func (s *shape) schema() map[string]any {
	switch s.sort {
	case object:
		properties, required := map[string]any{}, []string{}
		for _, f := range s.fields {
			p := f.shape.schema()
			p["description"] = f.doc
			if f.fallback != "" && f.sort != object {
				p["default"] = f.defaultValue()
			}
			properties[f.name] = p
			if f.required {
				required = append(required, f.name)
			}
		}
		out := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
		if len(s.oneOf) > 0 {
			var one []any
			for _, f := range s.oneOf {
				one = append(one, map[string]any{"required": []string{f.name}})
			}
			out["oneOf"] = one
		}
		if len(required) > 0 {
			out["required"] = required
		}
		return out
	case table:
		return map[string]any{"type": "object", "propertyNames": map[string]any{"pattern": s.keys.String()}, "additionalProperties": s.item.schema()}
	case list:
		return map[string]any{"type": "array", "items": s.item.schema(), "minItems": s.low, "maxItems": s.high}
	case integer:
		return map[string]any{"type": "integer", "minimum": s.low, "maximum": s.high}
	case boolean:
		return map[string]any{"type": "boolean"}
	case text:
		if len(s.words) == 1 {
			return map[string]any{"const": s.words[0]}
		}
		if len(s.words) > 1 {
			return map[string]any{"enum": s.words}
		}
		out := map[string]any{"type": "string", "minLength": s.low, "maxLength": s.high}
		if s.form != nil {
			out["pattern"] = s.form.String()
		}
		return out
	}
	panic("manifest: a shape without a sort")
}

// defaultValue is the fallback as a JSON value.
func (f *field) defaultValue() any {
	var v any
	if err := fallback(f.fallback, 0).Decode(&v); err != nil {
		panic("manifest: the fallback of " + f.name + " cannot be decoded: " + err.Error())
	}
	return v
}
