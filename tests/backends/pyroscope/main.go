// What Pyroscope's clients see of Pyroscope: its own published handler of PusherService, over HTTP.
// Behind it are not its stores, but its checks of labels and profiles, in short. Each push that is
// good becomes a line of JSON on standard output: labels and the profile, as sent.
//
// Pyroscope itself is not on the Go module proxy; its API module is.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"regexp"
	"sync"
	"unicode/utf8"

	"connectrpc.com/connect"
	"github.com/google/pprof/profile"
	pushv1 "github.com/grafana/pyroscope/api/gen/proto/go/push/v1"
	"github.com/grafana/pyroscope/api/gen/proto/go/push/v1/pushv1connect"
)

const (
	maxLabels      = 30   // max_label_names_per_series
	maxLabelValue  = 2048 // max_label_value_length
	maxProfileSize = 4 << 20
)

var labelName = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)

type received struct {
	Labels  map[string]string
	ID      string
	Tenant  string
	Profile []byte
}

type receiver struct {
	mutex sync.Mutex
	lines *json.Encoder
}

func (r *receiver) Push(
	_ context.Context, request *connect.Request[pushv1.PushRequest],
) (*connect.Response[pushv1.PushResponse], error) {
	var all []received
	for _, series := range request.Msg.Series {
		labels := map[string]string{}
		for _, pair := range series.Labels {
			if _, twice := labels[pair.Name]; twice {
				return nil, invalid("label %q twice", pair.Name)
			}
			if !labelName.MatchString(pair.Name) || !utf8.ValidString(pair.Value) {
				return nil, invalid("label %q is invalid", pair.Name)
			}
			if len(pair.Value) > maxLabelValue {
				return nil, invalid("value of label %q is too long", pair.Name)
			}
			labels[pair.Name] = pair.Value
		}
		if labels["__name__"] == "" || labels["service_name"] == "" || len(labels) > maxLabels {
			return nil, invalid("labels %v", labels)
		}
		for _, sample := range series.Samples {
			parsed, err := profile.ParseData(sample.RawProfile)
			if err != nil {
				return nil, invalid("profile: %w", err)
			}
			if err := parsed.CheckValid(); err != nil {
				return nil, invalid("profile: %w", err)
			}
			tenant := request.Header().Get("X-Scope-OrgID")
			all = append(all, received{labels, sample.ID, tenant, sample.RawProfile})
		}
	}
	if len(all) == 0 {
		return nil, invalid("no profiles received")
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	for _, one := range all {
		if err := r.lines.Encode(one); err != nil {
			return nil, err
		}
	}
	return connect.NewResponse(&pushv1.PushResponse{}), nil
}

func invalid(format string, values ...any) error {
	return connect.NewError(connect.CodeInvalidArgument, fmt.Errorf(format, values...))
}

func main() {
	mux := http.NewServeMux()
	path, handler := pushv1connect.NewPusherServiceHandler(
		&receiver{lines: json.NewEncoder(os.Stdout)}, connect.WithReadMaxBytes(maxProfileSize))
	mux.Handle(path, handler)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintln(os.Stderr, listener.Addr())
	if err := http.Serve(listener, mux); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
}
