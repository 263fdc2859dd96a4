package shape

// JSONSchema writes the shape as a part of a JSON Schema (2020-12).
func (s *Shape) JSONSchema() map[string]any {
	switch s.Sort {
	case Object:
		properties, required := map[string]any{}, []string{}
		for _, f := range s.Fields {
			p := f.Shape.JSONSchema()
			p["description"] = f.Doc
			if f.Fallback != "" && f.Sort != Object {
				p["default"] = f.defaultValue()
			}
			properties[f.Name] = p
			if f.Required {
				required = append(required, f.Name)
			}
		}
		out := map[string]any{"type": "object", "properties": properties, "additionalProperties": false}
		if len(s.OneOf) > 0 {
			var one []any
			for _, f := range s.OneOf {
				one = append(one, map[string]any{"required": []string{f.Name}})
			}
			out["oneOf"] = one
		}
		if len(required) > 0 {
			out["required"] = required
		}
		return out
	case Table:
		return map[string]any{"type": "object", "propertyNames": map[string]any{"pattern": s.Keys.String()}, "additionalProperties": s.Item.JSONSchema()}
	case List:
		return map[string]any{"type": "array", "items": s.Item.JSONSchema(), "minItems": s.Low, "maxItems": s.High}
	case Integer:
		return map[string]any{"type": "integer", "minimum": s.Low, "maximum": s.High}
	case Any:
		return map[string]any{}
	case Boolean:
		return map[string]any{"type": "boolean"}
	case Text:
		if len(s.Words) == 1 {
			return map[string]any{"const": s.Words[0]}
		}
		if len(s.Words) > 1 {
			return map[string]any{"enum": s.Words}
		}
		out := map[string]any{"type": "string", "minLength": s.Low, "maxLength": s.High}
		if s.Form != nil {
			out["pattern"] = s.Form.String()
		}
		return out
	}
	panic("shape: a shape without a sort")
}

// defaultValue is the fallback as a JSON value.
func (f *Field) defaultValue() any {
	var v any
	if err := fallback(f.Fallback, 0).Decode(&v); err != nil {
		panic("shape: the fallback of " + f.Name + " cannot be decoded: " + err.Error())
	}
	return v
}
