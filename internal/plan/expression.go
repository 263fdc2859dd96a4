package plan

import (
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"
)

// Expressions are in CEL. They see these names, and nothing else.
const (
	paramsName = "params" // the parameters of the plan
	stepsName  = "steps"  // by id: outcome, outputs, error, attempts
	factsName  = "facts"  // what drivers found, by target: only in when and until
	resultName = "result" // what the action gave: only in expect and outputs
	runName    = "run"    // id, mode, startedBy
)

// mostCost bounds what one evaluation may do.
const mostCost = 100_000

// compiled is a compiled expression.
type compiled struct {
	text    string
	program cel.Program
	refs    []reference
}

// reference is a name that an expression looks at: steps.x is {steps, x}.
type reference struct{ root, name string }

var environment = sync.OnceValues(func() (*cel.Env, error) {
	anything := cel.MapType(cel.StringType, cel.DynType)
	return cel.NewEnv(
		cel.Variable(paramsName, anything), cel.Variable(stepsName, anything), cel.Variable(factsName, anything),
		cel.Variable(resultName, anything), cel.Variable(runName, anything),
		cel.HomogeneousAggregateLiterals(), ext.Strings(),
	)
})

// compileExpression reads an expression; an error says where it is wrong.
func compileExpression(text string) (*compiled, error) {
	env, err := environment()
	if err != nil {
		return nil, err
	}
	tree, issues := env.Compile(text)
	if err := issues.Err(); err != nil {
		first := issues.Errors()[0]
		return nil, fmt.Errorf("column %d: %s", first.Location.Column()+1, first.Message)
	}
	program, err := env.Program(tree, cel.CostLimit(mostCost))
	if err != nil {
		return nil, err
	}
	e := &compiled{text: text, program: program}
	collect(tree.NativeRep().Expr(), &e.refs)
	return e, nil
}

// collect notes every steps.x, params.x and so on.
func collect(e ast.Expr, refs *[]reference) {
	ast.PostOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		var root ast.Expr
		name := ""
		switch e.Kind() {
		case ast.SelectKind:
			root, name = e.AsSelect().Operand(), e.AsSelect().FieldName()
		case ast.CallKind:
			args := e.AsCall().Args()
			if e.AsCall().FunctionName() != "_[_]" || len(args) != 2 || args[1].Kind() != ast.LiteralKind {
				return
			}
			key, ok := args[1].AsLiteral().Value().(string)
			if !ok {
				return
			}
			root, name = args[0], key
		default:
			return
		}
		if root.Kind() == ast.IdentKind {
			if r := (reference{root.AsIdent(), name}); !slices.Contains(*refs, r) {
				*refs = append(*refs, r)
			}
		}
	}))
}

// Scope is what the names of an expression stand for.
type Scope struct {
	Params, Facts, Result, Run map[string]any
	// Step tells of one step: outcome, outputs, error, attempts. It is asked only for those that the expression names.
	Step func(name string) (map[string]any, bool)
}

func (e *compiled) variables(s Scope) map[string]any {
	steps := map[string]any{}
	for _, r := range e.refs {
		if r.root != stepsName || s.Step == nil {
			continue
		}
		if told, ok := s.Step(r.name); ok {
			steps[r.name] = told
		}
	}
	return map[string]any{paramsName: orEmpty(s.Params), stepsName: steps, factsName: orEmpty(s.Facts), resultName: orEmpty(s.Result), runName: orEmpty(s.Run)}
}

func orEmpty(m map[string]any) map[string]any {
	if m == nil {
		return map[string]any{}
	}
	return m
}

// value evaluates an expression to what JSON can hold.
func (e *compiled) value(s Scope) (any, error) {
	v, _, err := e.program.Eval(e.variables(s))
	if err != nil {
		return nil, fmt.Errorf("cannot evaluate %s: %w", e.text, err)
	}
	plain, err := plainValue(v)
	if err != nil {
		return nil, fmt.Errorf("cannot evaluate %s: %w", e.text, err)
	}
	return plain, nil
}

// holds evaluates an expression that has to be true or false.
func (e *compiled) holds(s Scope) (bool, error) {
	v, err := e.value(s)
	if err != nil {
		return false, err
	}
	b, ok := v.(bool)
	if !ok {
		return false, fmt.Errorf("cannot evaluate %s: it gives %v, neither true nor false", e.text, v)
	}
	return b, nil
}

// plainValue makes of a value of an expression one that JSON gives back the same.
func plainValue(v ref.Val) (any, error) {
	switch v := v.(type) {
	case types.Bool:
		return bool(v), nil
	case types.String:
		return string(v), nil
	case types.Int:
		return float64(v), nil
	case types.Uint:
		return float64(v), nil
	case types.Double:
		return float64(v), nil
	case types.Null:
		return nil, nil
	}
	native, err := v.ConvertToNative(reflect.TypeFor[map[string]any]())
	if err == nil {
		return native, nil
	}
	native, err = v.ConvertToNative(reflect.TypeFor[[]any]())
	if err == nil {
		return native, nil
	}
	return nil, fmt.Errorf("it gives a %s, which cannot be kept", v.Type().TypeName())
}

var placeholder = regexp.MustCompile(`\$\{([^}]*)\}`)

// placeholders gives the expressions of a text with ${…} in it.
func placeholders(text string) []string {
	var out []string
	for _, m := range placeholder.FindAllStringSubmatch(text, -1) {
		out = append(out, strings.TrimSpace(m[1]))
	}
	return out
}

// Fill puts values in the place of ${…}, in everything nested in v. A text that is one ${…} and no more becomes the value itself.
func Fill(v any, s Scope) (any, error) {
	switch v := v.(type) {
	case string:
		if m := placeholder.FindStringSubmatchIndex(v); m != nil && m[0] == 0 && m[1] == len(v) {
			return evaluate(v[m[2]:m[3]], s)
		}
		var failed error
		filled := placeholder.ReplaceAllStringFunc(v, func(m string) string {
			value, err := evaluate(m[2:len(m)-1], s)
			if err != nil {
				failed = err
			}
			return words(value)
		})
		return filled, failed
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, item := range v {
			filled, err := Fill(item, s)
			if err != nil {
				return nil, err
			}
			out[name] = filled
		}
		return out, nil
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			filled, err := Fill(item, s)
			if err != nil {
				return nil, err
			}
			out[i] = filled
		}
		return out, nil
	}
	return v, nil
}

// FillText is Fill for what has to be text.
func FillText(text string, s Scope) (string, error) {
	if !strings.Contains(text, "${") {
		return text, nil
	}
	v, err := Fill(text, s)
	if err != nil {
		return "", err
	}
	return words(v), nil
}

// Holds evaluates a condition, in which ${…} stand for text: facts["unit/${params.unit}"].
func Holds(text string, s Scope) (bool, error) {
	e, err := condition(text, s)
	if err != nil {
		return false, err
	}
	return e.holds(s)
}

// Targets are the targets of whose facts a condition wants to know.
func Targets(text string, s Scope) ([]string, error) {
	e, err := condition(text, s)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, r := range e.refs {
		if r.root == factsName {
			out = append(out, r.name)
		}
	}
	return out, nil
}

// Evaluate gives the values of expressions by name; nil for none.
func Evaluate(expressions map[string]string, s Scope) (map[string]any, error) {
	if len(expressions) == 0 {
		return nil, nil
	}
	out := make(map[string]any, len(expressions))
	for _, name := range names(expressions) {
		v, err := evaluate(expressions[name], s)
		if err != nil {
			return nil, err
		}
		out[name] = v
	}
	return out, nil
}

func condition(text string, s Scope) (*compiled, error) {
	var failed error
	filled := placeholder.ReplaceAllStringFunc(text, func(m string) string {
		v, err := evaluate(m[2:len(m)-1], s)
		if err != nil {
			failed = err
		}
		quoted := strconv.Quote(words(v)) // a value ends no literal
		return quoted[1 : len(quoted)-1]
	})
	if failed != nil {
		return nil, failed
	}
	return compileExpression(filled)
}

func evaluate(text string, s Scope) (any, error) {
	e, err := compileExpression(strings.TrimSpace(text))
	if err != nil {
		return nil, err
	}
	return e.value(s)
}

func words(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		if v == float64(int64(v)) {
			return fmt.Sprint(int64(v))
		}
	}
	return fmt.Sprint(v)
}
