package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"perdure/internal/app"
)

// build is what the program knows of itself.
func build() map[string]string {
	v := map[string]string{"version": app.Version, "revision": "unknown", "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, setting := range info.Settings {
			switch setting.Key {
			case "vcs.revision":
				v["revision"] = setting.Value
			case "vcs.modified":
				v["modified"] = setting.Value
			}
		}
	}
	return v
}

// revision is the program's version and the revision it was built from, on one line.
func revision() string {
	v := build()
	text := v["version"] + " " + v["revision"]
	if v["modified"] == "true" {
		text += " (modified)"
	}
	return text
}

func (s *session) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Version of this binary", Args: exactly(),
		RunE: func(*cobra.Command, []string) error {
			v := build()
			if s.json {
				return s.emit(v)
			}
			fmt.Fprintf(s.Out, "perdure %s (%s, %s, %s)\n", v["version"], v["revision"], v["go"], v["platform"])
			return nil
		},
	}
}
