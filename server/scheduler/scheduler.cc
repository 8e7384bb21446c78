#include "server/scheduler/scheduler.h"

#include <algorithm>
#include <tuple>

#include "absl/strings/str_cat.h"

namespace dasm {
namespace {

struct Candidate {
  const SchedulerWorker* worker;
  int free;
};

struct Pool {
  std::vector<Candidate> workers;
  int slots = 0;
  int free = 0;
  bool closed = false;  // for a larger gang ahead
};

int64_t LocalBytes(const SchedulerRequest& request,
                   const SchedulerWorker& worker) {
  if (worker.blobs == nullptr) return 0;
  int64_t bytes = 0;
  for (const SchedulerInput& input : request.inputs) {
    if (worker.blobs->contains(input.digest)) bytes += input.size_bytes;
  }
  return bytes;
}

// The candidates that `request` may use: without the worker to avoid where the
// others could hold it.
std::vector<Candidate*> Eligible(const SchedulerRequest& request, Pool* pool) {
  int others = 0;
  for (const Candidate& candidate : pool->workers) {
    if (candidate.worker->id != request.avoid_worker) {
      others += candidate.worker->slots;
    }
  }
  std::vector<Candidate*> eligible;
  for (Candidate& candidate : pool->workers) {
    if (candidate.worker->id == request.avoid_worker &&
        others >= request.ranks) {
      continue;
    }
    eligible.push_back(&candidate);
  }
  return eligible;
}

// One worker for all ranks where there is one, else the fewest.
std::vector<std::string> Place(const SchedulerRequest& request, int ranks,
                               std::vector<Candidate*> eligible, Pool* pool) {
  std::vector<std::tuple<bool, int64_t, int, std::string, Candidate*>> ranked;
  for (Candidate* candidate : eligible) {
    if (candidate->free <= 0) continue;
    ranked.emplace_back(candidate->free < ranks,
                        -LocalBytes(request, *candidate->worker),
                        -candidate->free, candidate->worker->id, candidate);
  }
  std::sort(ranked.begin(), ranked.end());
  std::vector<std::string> workers;
  for (const auto& entry : ranked) {
    Candidate* candidate = std::get<4>(entry);
    while (candidate->free > 0 && static_cast<int>(workers.size()) < ranks) {
      workers.push_back(candidate->worker->id);
      --candidate->free;
      --pool->free;
    }
  }
  return workers;
}

std::string At(absl::Time time) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", time, absl::UTCTimeZone());
}

std::string Slots(int count) {
  return absl::StrCat(count, count == 1 ? " slot" : " slots");
}

std::string SlotReason(int needed, int free, int slots, bool closed) {
  return absl::StrCat("needs ", Slots(needed), ", ", free, " free of ", slots,
                      closed ? " (kept for a larger task ahead)" : "");
}

std::string RegroupReason(const SchedulerRequest& request, absl::Time until,
                          int free, int slots) {
  return absl::StrCat("waits for ", Slots(request.ranks), " until ", At(until),
                      ", then goes on with at least ", request.min_ranks, "; ",
                      free, " free of ", slots);
}

}  // namespace

Schedule MakeSchedule(const SchedulerSnapshot& snapshot) {
  std::map<std::string, Pool> pools;
  for (const SchedulerWorker& worker : snapshot.workers) {
    Pool& pool = pools[worker.numerics_class];
    const int free = std::max(0, worker.slots - worker.busy);
    pool.workers.push_back({&worker, free});
    pool.slots += worker.slots;
    pool.free += free;
  }
  std::vector<const SchedulerRequest*> queue;
  for (const SchedulerRequest& request : snapshot.requests) {
    queue.push_back(&request);
  }
  std::sort(queue.begin(), queue.end(),
            [](const SchedulerRequest* a, const SchedulerRequest* b) {
              return std::tuple(-a->priority, a->order, -a->chain, a->key) <
                     std::tuple(-b->priority, b->order, -b->chain, b->key);
            });

  Schedule schedule;
  for (const SchedulerRequest* request : queue) {
    std::string& reason = schedule.reasons[request->key];
    if (snapshot.workers.empty()) {
      reason = "no worker is connected";
      continue;
    }
    const auto found = pools.find(request->numerics_class);
    if (found == pools.end()) {
      reason =
          absl::StrCat("no worker of numerics class ", request->numerics_class);
      continue;
    }
    Pool& pool = found->second;
    const bool may_start = request->not_before <= snapshot.now &&
                           request->inputs_ready && !snapshot.store_nearly_full;
    const std::vector<Candidate*> eligible = Eligible(*request, &pool);
    int free = 0;
    for (const Candidate* candidate : eligible) free += candidate->free;
    absl::Time whole_until = request->regroup_until;
    if (whole_until == absl::InfiniteFuture() && pool.slots < request->ranks) {
      whole_until = request->small_pool_until;
    }
    const bool may_shrink = request->min_ranks < request->ranks &&
                            whole_until != absl::InfiniteFuture();
    const bool regroups = may_shrink && snapshot.now < whole_until;
    const int needed =
        may_shrink && !regroups ? request->min_ranks : request->ranks;
    if (pool.closed || free < needed) {
      reason = regroups && !pool.closed
                   ? RegroupReason(*request, whole_until, free, pool.slots)
                   : SlotReason(needed, free, pool.slots,
                                pool.closed && free >= needed);
      // One that could not start anyway, or never fits, keeps nobody waiting.
      const int least = may_shrink ? request->min_ranks : request->ranks;
      if (may_start && least <= pool.slots) pool.closed = true;
      continue;
    }
    if (request->not_before > snapshot.now) {
      reason = absl::StrCat("back-off until ", At(request->not_before),
                            request->last_failure.empty() ? "" : " after ",
                            request->last_failure);
      continue;
    }
    if (!request->inputs_ready) {
      reason = "waiting for inputs";
      continue;
    }
    if (snapshot.store_nearly_full) {
      reason =
          "store is nearly full: free some space on the coordinator's disk";
      continue;
    }
    schedule.placements.push_back(
        {request->key,
         Place(*request, std::min(free, request->ranks), eligible, &pool)});
    schedule.reasons.erase(request->key);
  }
  return schedule;
}

std::string_view PendingLabel(std::string_view reason) {
  if (reason.starts_with("no worker is")) return "no_worker";
  if (reason.starts_with("no worker of")) return "no_class";
  if (reason.starts_with("needs")) return "slots";
  if (reason.starts_with("waits for")) return "slots";
  if (reason.starts_with("back-off")) return "back_off";
  if (reason.starts_with("waiting")) return "inputs";
  return "store_full";
}

}  // namespace dasm
