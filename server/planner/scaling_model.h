// How the speed of a distill_segment or match_trajectories step grows with the
// ranks of its gang: a model from counted arithmetic and counted bytes, for
// `explain`. Pure functions; predictions, not promises.
//
// A step of gradient matching is G = inits_per_step passes over C classes and,
// for each of the G networks, net_steps training steps. With F the FLOPs of a
// forward pass and R ranks, which take shards round-robin:
//   matching   shards C G s, s = slices that micro_batch cuts a class into;
//              a rank computes ceil(C G s / R) of them, at
//              F (3 real + 7 synthetic) / s each (10 when it is cut: the first
//              of two passes is extra)
//   training   shards of a network step: ceil(net_batch / train_group), with
//              BatchNorm one; a rank computes ceil(shards / R) of them, at
//              3 F train_group each
//   redundant  what every rank does: the updates of parameters and pixels,
//              6 FLOPs each
//   exchange   a sum of P + B + 2 floats a network step (P parameters, B
//              buffers) and, of the pixels' gradients,
//                every_step  a gather of a row a pass: the m <= n stored images
//                            that take part, x floats each, and a distance
//                deferred    a gather of two figures a class; the pixels
//                            themselves are exchanged at checkpoints only
//                cut         of each pass a sum of both sides' gradients of the
//                            M matched parameters, 2 M, and one of m x
//              the bytes below over the link's rate, and its latency a call
// A step of trajectory matching is a path of N student steps, walked forward
// and back. A batch of b images is cut into ceil(b / g) groups of g =
// micro_batch or train_group images (with BatchNorm one):
//   training   the N forward steps: a sum of P + 1 floats each
//   matching   the N adjoint steps: a sum of P + 1 floats each (the last one's
//              and TESLA's need no gradient: 1), and gathers of the groups'
//              rows, many steps at once
// With trajectories_per_step T > 1 ranks take whole paths: T shards and two
// gathers, of the set's gradients and of the figures.
// A step also begins with a byte from rank 0: what it wishes.
// With a trainer rank (resources.trainer_rank; gradient matching on R >= 2
// ranks) rank 0 trains the networks, all shards and updates, while the others
// match with the shares of R - 1 ranks: a step takes the longer of the two, the
// updates of the pixels, and the exchange, which for the networks is a sum of
// one row of I (P + B + net_steps) floats, rank 0's.
#ifndef DASM_SERVER_PLANNER_SCALING_MODEL_H_
#define DASM_SERVER_PLANNER_SCALING_MODEL_H_

#include <cstdint>
#include <string>
#include <vector>

#include "common/spec/task_parameters.h"

namespace dasm {

struct ResolvedDataset;

// Payload bytes that `rank` sends in one collective call over `ranks`
// processes, each one rank, of which those from `first` on bring rows, most of
// them that one: what worker/collective/exchange_plan.h counts. With first 0
// rank 0 sends most. There an ordered sum cannot add partials
// of another rank's shards early: every rank sends each of its rows, cut in R
// parts of whole cache lines, to the parts' owners, then its summed part to
// all, about
//   ceil(shards / R) * 4 length (R - 1) / R + 4 length (R - 1) / R
// A fast sum adds its own rows first: one row in place of ceil(shards / R).
// A gather sends each own row to all others:
//   ceil(shards / R) * 4 length (R - 1)
int64_t SumBytesSent(int64_t shards, int64_t length, int ranks, bool fast,
                     int first = 0, int rank = 0);
int64_t GatherBytesSent(int64_t shards, int64_t length, int ranks,
                        int first = 0, int rank = 0);

// A collective call that a step makes `times` times.
struct StepCall {
  enum class Kind { kSum, kGather, kPoll };
  Kind kind = Kind::kSum;
  int64_t times = 1;
  int64_t shards = 0;
  int64_t length = 0;     // floats a shard
  bool training = false;  // of the networks
  int first = 0;          // rank that brings rows
};

// What a gang computes and sends.
struct StepWork {
  int64_t match_steps = 1;   // one after another
  int64_t match_shards = 0;  // of a matching step
  double match_flops = 0;    // of a shard
  // Of trajectory matching: a path of steps that depend on each other.
  bool path = false;
  int64_t train_steps = 0;   // network steps, over all networks
  int64_t train_shards = 0;  // of a network step
  double train_flops = 0;    // of a shard
  double redundant_flops = 0;
  double network_update_flops = 0;  // of these, the networks'
  int64_t networks = 1;
  int64_t parameters = 0;  // of a network, with its buffers
  bool fast = false;
  // With several ranks; `deferred` counts no checkpoints. Where only a random
  // subset of the decoded images takes part, m is taken at its most.
  std::vector<StepCall> calls;

  double flops() const;
};
StepWork WorkOfStep(const DistillSegmentParameters& parameters,
                    const ResolvedDataset& dataset, bool deferred);
StepWork WorkOfStep(const MatchTrajectoriesParameters& parameters,
                    const ResolvedDataset& dataset);
// With what a trainer rank and the others call; of two ranks or more.
StepWork WithTrainer(const StepWork& work);
int64_t StepBytesSent(const StepWork& work, int ranks, int rank = 0);

struct Link {
  std::string name;
  double bytes_per_second = 0;
  double seconds_per_call = 0;
};
// 450 GB/s a direction, 10 us; 100 Gbit/s, 50 us.
Link NvLink();
Link Ethernet();

struct ScalingRow {
  int ranks = 1;
  double match_seconds = 0;  // of the rank that has most
  double train_seconds = 0;
  double redundant_seconds = 0;
  int64_t sent_bytes = 0;  // by rank 0; by rank 1 beside a trainer rank
  struct OnLink {
    std::string link;
    double exchange_seconds = 0;
    double speedup = 1;  // over one rank
    // With a trainer rank; 0 with one rank and for paths.
    double trainer_speedup = 0;
    // What keeps it from `ranks`: "match shards", "train shards", "redundant
    // work", "bytes" or "latency"; "none" below 5 % of loss.
    std::string limit;
  };
  std::vector<OnLink> links;
};
// `flops_per_second`: what a rank sustains, > 0. `trainer`: rows of two ranks
// or more are of gangs with a trainer rank.
std::vector<ScalingRow> ModelScaling(const StepWork& work,
                                     const std::vector<int>& ranks,
                                     double flops_per_second,
                                     const std::vector<Link>& links,
                                     bool trainer = false);

// What resources.trainer_rank, which is `trainer`, should be instead on these
// ranks: true where a step gets 5 % faster over one of the links, false where
// it does over all of them. Empty: what it is.
std::string TrainerAdvice(const StepWork& work, int ranks, bool trainer,
                          double flops_per_second,
                          const std::vector<Link>& links);

// What the tables of `explain` assume a rank to sustain: a third of the fp32
// peak of a current data centre GPU.
inline constexpr double kModelFlopsPerSecond = 20e12;

// What a user should know before starting `ranks` ranks, with or without a
// trainer rank; empty: nothing.
std::vector<std::string> RankWarnings(const StepWork& work, int ranks,
                                      bool trainer = false);

}  // namespace dasm

#endif  // DASM_SERVER_PLANNER_SCALING_MODEL_H_
