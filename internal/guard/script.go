//go:build !seed1 && !seed4 && !seed5

package guard

// script is the text of one script of the schema.
func script(name string) (string, error) {
	text, err := files.ReadFile("schema/" + name)
	return string(text), err
}
