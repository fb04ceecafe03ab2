package program

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nexusblueprint/nexus/topology"
)

// groupAssignment says which instance holds which partitions of a group.
type groupAssignment struct {
	Group   string             `json:"group"`
	State   string             `json:"state"` // Kafka's: Stable, PreparingRebalance, Empty, …
	Members []memberAssignment `json:"members"`
}

type memberAssignment struct {
	Instance   string  `json:"instance"`
	Host       string  `json:"host"`
	Partitions []int32 `json:"partitions"`
}

// assignment asks the broker who holds what, in the order of the topology.
func (r *running) assignment(ctx context.Context, t *topology.Topology) ([]groupAssignment, error) {
	cl, err := kgo.NewClient(r.broker...)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	groups := t.Groups()
	described, err := kadm.NewClient(cl).DescribeGroups(ctx, groups...)
	if err != nil {
		return nil, r.denied(ctx, t, fmt.Errorf("asking for the members of the groups: %w", err))
	}
	var all []groupAssignment
	for _, name := range groups {
		d := described[name]
		g := groupAssignment{Group: name, State: d.State, Members: []memberAssignment{}}
		for _, m := range d.Members {
			g.Members = append(g.Members, memberOf(m))
		}
		all = append(all, g)
	}
	return all, nil
}

func memberOf(m kadm.DescribedGroupMember) memberAssignment {
	a := memberAssignment{Instance: strings.TrimPrefix(m.ClientID, "nexus-"), Host: m.ClientHost, Partitions: []int32{}}
	if m.InstanceID != nil {
		a.Instance = *m.InstanceID
	}
	if c, ok := m.Assigned.AsConsumer(); ok {
		for _, topic := range c.Topics { // a group's topics are partitioned alike
			a.Partitions = append(a.Partitions, topic.Partitions...)
		}
	}
	slices.Sort(a.Partitions)
	a.Partitions = slices.Compact(a.Partitions)
	return a
}

func printAssignment(out io.Writer, groups []groupAssignment) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "GROUP\tSTATE\tINSTANCE\tHOST\tPARTITIONS")
	for _, g := range groups {
		if len(g.Members) == 0 {
			fmt.Fprintf(w, "%s\t%s\t-\t-\t-\n", g.Group, g.State)
		}
		for _, m := range g.Members {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", g.Group, g.State, m.Instance, m.Host, ranges(m.Partitions))
		}
	}
	return w.Flush()
}

// ranges writes 0,1,2,5 as 0-2,5.
func ranges(partitions []int32) string {
	if len(partitions) == 0 {
		return "none: it waits"
	}
	var parts []string
	for i := 0; i < len(partitions); {
		j := i
		for j+1 < len(partitions) && partitions[j+1] == partitions[j]+1 {
			j++
		}
		text := strconv.Itoa(int(partitions[i]))
		if j > i {
			text += "-" + strconv.Itoa(int(partitions[j]))
		}
		parts = append(parts, text)
		i = j + 1
	}
	return strings.Join(parts, ",")
}
