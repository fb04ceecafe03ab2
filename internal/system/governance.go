package system

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nexusblueprint/nexus/gateway"
	"github.com/nexusblueprint/nexus/internal/clock"
	"github.com/nexusblueprint/nexus/internal/config"
	"github.com/nexusblueprint/nexus/internal/serde"
	"github.com/nexusblueprint/nexus/policies"
	"github.com/nexusblueprint/nexus/topology"
)

// judgeDeclaration judges what can be before anything is opened.
func (s *System) judgeDeclaration(ctx context.Context) error {
	if faults := s.topology.Faults(); len(faults) > 0 {
		return &FaultsError{Gate: "topology", Faults: faults}
	}
	defer s.took(clock.System{}.Now())
	return s.judge(ctx, nil, nil)
}

// judgeLive judges all that a running program can see.
func (s *System) judgeLive(ctx context.Context) error {
	defer s.took(clock.System{}.Now())
	actual, err := ActualTopics(ctx, s.bus.admin, s.topology)
	if err != nil {
		return err
	}
	patient, cancel := context.WithTimeout(ctx, reachPatience)
	defer cancel()
	levels, err := s.serde.Levels(patient)
	if err != nil {
		return fmt.Errorf("asking the registry at %s for its compatibility levels: %w", s.endpoint, err)
	}
	if err := s.compareRegistered(patient); err != nil {
		return err
	}
	live := &policies.Live{Topics: topicFacts(actual), Registry: &policies.LiveRegistry{Subjects: []string{}, Levels: map[string]string{}}}
	if !s.settings.Bus.Embedded() { // the embedded broker lets nobody but this program write
		askBroker(patient, live, s.topology, s.bus.client, s.settings.Bus)
	}
	for subject, level := range levels {
		live.Registry.Levels[subject] = string(level)
	}
	for _, subject := range s.topology.Subjects() {
		if _, registered := s.serde.ID(subject); registered {
			live.Registry.Subjects = append(live.Registry.Subjects, subject)
		}
	}
	return s.judge(ctx, live, s.history)
}

// judgeRegistered judges today's schemas by the versions that the registry holds.
func (s *System) judgeRegistered(ctx context.Context) error {
	defer s.took(clock.System{}.Now())
	if err := s.compareRegistered(ctx); err != nil || len(s.history.Incompatibilities) == 0 {
		return err
	}
	return s.judge(ctx, nil, s.history)
}

// compareRegistered compares once: what this program registers after it breaks nothing.
func (s *System) compareRegistered(ctx context.Context) error {
	if s.history != nil {
		return nil
	}
	history := policies.NewHistory()
	if err := CompareRegistered(ctx, s.registry, s.topology.Describe(), history); err != nil {
		return fmt.Errorf("asking the registry at %s for the versions that it holds: %w", s.endpoint, err)
	}
	s.history = history
	return nil
}

func (s *System) took(since time.Time) { s.judging += clock.System{}.Now().Sub(since) }

// judge asks the policies about what a running binary knows.
func (s *System) judge(ctx context.Context, live *policies.Live, history *policies.History) error {
	description := s.topology.Describe()
	schemas, err := policies.ReadSchemas(description, "")
	if err != nil {
		return err
	}
	verdict, err := policies.Judge(ctx, policies.Facts{
		Version: policies.FactsVersion, Topology: &description, Schemas: schemas, History: history, Configuration: ConfigurationFacts(&s.settings), Live: live,
	})
	if err != nil {
		return err
	}
	s.verdict = verdict
	if s.settings.Governance == config.Warn {
		return nil
	}
	return Refusal(verdict)
}

// Refusal is what a gate answers to a verdict, a *FaultsError; nil if nothing is violated.
func Refusal(v policies.Verdict) error {
	if v.OK() {
		return nil
	}
	faults := make([]string, len(v.Violations))
	for i, violation := range v.Violations {
		faults[i] = violation.String()
	}
	return &FaultsError{Gate: governanceGate, Faults: faults}
}

const governanceGate = "governance"

// sayVerdict writes down what was judged, once it all was.
func (s *System) sayVerdict(context.Context) error {
	for _, v := range s.verdict.Violations {
		s.logger.Warn("a policy is violated", "rule", v.Rule, "severity", v.Severity, "place", v.Place, "why", v.Detail)
	}
	for _, gap := range s.verdict.Gaps {
		s.logger.Info("a part could not be judged", "part", gap.Part, "rules", strings.Join(gap.Rules, " "), "why", gap.Why)
	}
	s.logger.Info("the policies are judged", "governance", s.settings.Governance, "violations", len(s.verdict.Violations),
		"judged", len(s.verdict.Judged), "left_to_ci", strings.Join(s.verdict.NotJudged, " "), "took", s.judging.Round(time.Millisecond))
	return nil
}

// governed says that a setting of a topic is for a policy to judge, append-only,
// and does not keep the platform from working. Where violations stop a start,
// nothing is: it names all that is wrong with the topics at once.
func (s *System) governed(d topology.Difference) bool {
	return s.settings.Governance == config.Warn && d.Topic.Kind == topology.EventTopic &&
		slices.Contains([]string{"cleanup.policy", "retention.ms", "retention.bytes"}, d.Setting)
}

// notGoverned adds to what stopped a start what the setting governance has to do
// with it.
func (s *System) notGoverned(err error) error {
	var faults *FaultsError
	switch {
	case errors.As(err, &faults) && faults.Gate == governanceGate:
		err = fmt.Errorf("%w\nmend them; to start all the same and show them at /readyz and in the metrics, set governance to %s (--governance=%[2]s)", err, config.Warn)
		if s.settings.Bus.Embedded() {
			err = fmt.Errorf("%w; if it is older data that they break with and nobody needs it, --reset empties the folder", err)
		}
		return err
	case s.settings.Governance == config.Warn && (faults != nil || errors.Is(err, serde.ErrNotRegistered)):
		return fmt.Errorf("%w\ngovernance is %s, which lets violations of policies pass; this is none, nothing can run with it", err, config.Warn)
	}
	return err
}

// governance is the verdict as /readyz shows it, and in the metrics.
func (s *System) governance() gateway.Governance {
	violations := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "nexus_governance_violations", Help: "Violations of policies that the last start found and went on with.",
	}, []string{"rule", "severity"})
	s.metrics.MustRegister(violations)
	for _, v := range s.verdict.Violations {
		violations.WithLabelValues(v.Rule, v.Severity).Inc()
	}
	return gateway.Governance{Mode: s.settings.Governance, Violations: s.verdict.Violations, NotJudged: s.verdict.NotJudged, Gaps: s.verdict.Gaps}
}
