package cli

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"perdure/internal/app"
	"perdure/internal/run"
	"perdure/internal/wire"
)

// build is what the program knows of itself.
func build() map[string]string {
	v := map[string]string{"version": app.Version, "revision": "unknown", "go": runtime.Version(), "platform": runtime.GOOS + "/" + runtime.GOARCH, "journals": journals()}
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
	if v["revision"] == "unknown" || v["modified"] == "true" {
		v["program"] = digestOfProgram() // two trees of one commit are two programs
	}
	return v
}

// journals are the formats of runs' journals that the program reads.
func journals() string { return formatsText(wire.NodeFormats{Oldest: run.Oldest, Newest: run.Newest}) }

// digestOfProgram tells two programs apart that say the same of themselves.
func digestOfProgram() string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

// revision is the program's version and the revision it was built from, on one line.
func revision() string {
	v := build()
	text := v["version"] + " " + v["revision"]
	if v["modified"] == "true" {
		text += " (modified)"
	}
	if v["program"] != "" {
		text += " " + v["program"]
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
			fmt.Fprintf(s.Out, "perdure %s (%s, %s, %s), %s\n", v["version"], v["revision"], v["go"], v["platform"], s.say(readsJournals, v["journals"]))
			return nil
		},
	}
}
