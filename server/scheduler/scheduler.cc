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
std::vector<std::string> Place(const SchedulerRequest& request,
                               std::vector<Candidate*> eligible, Pool* pool) {
  std::vector<std::tuple<bool, int64_t, int, std::string, Candidate*>> ranked;
  for (Candidate* candidate : eligible) {
    if (candidate->free <= 0) continue;
    ranked.emplace_back(candidate->free < request.ranks,
                        -LocalBytes(request, *candidate->worker),
                        -candidate->free, candidate->worker->id, candidate);
  }
  std::sort(ranked.begin(), ranked.end());
  std::vector<std::string> workers;
  for (const auto& entry : ranked) {
    Candidate* candidate = std::get<4>(entry);
    while (candidate->free > 0 &&
           static_cast<int>(workers.size()) < request.ranks) {
      workers.push_back(candidate->worker->id);
      --candidate->free;
      --pool->free;
    }
  }
  return workers;
}

std::string SlotReason(int ranks, int free, int slots, bool closed) {
  return absl::StrCat("needs ", ranks, ranks == 1 ? " slot, " : " slots, ",
                      free, " free of ", slots,
                      closed ? " (kept for a larger task ahead)" : "");
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
    if (pool.closed || free < request->ranks) {
      reason = SlotReason(request->ranks, free, pool.slots,
                          pool.closed && free >= request->ranks);
      // One that could not start anyway, or never fits, keeps nobody waiting.
      if (may_start && request->ranks <= pool.slots) pool.closed = true;
      continue;
    }
    if (request->not_before > snapshot.now) {
      reason = absl::StrCat(
          "back-off until ",
          absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", request->not_before,
                           absl::UTCTimeZone()));
      continue;
    }
    if (!request->inputs_ready) {
      reason = "waiting for inputs";
      continue;
    }
    if (snapshot.store_nearly_full) {
      reason = "store is nearly full";
      continue;
    }
    schedule.placements.push_back(
        {request->key, Place(*request, eligible, &pool)});
    schedule.reasons.erase(request->key);
  }
  return schedule;
}

std::string_view PendingLabel(std::string_view reason) {
  if (reason.starts_with("no worker is")) return "no_worker";
  if (reason.starts_with("no worker of")) return "no_class";
  if (reason.starts_with("needs")) return "slots";
  if (reason.starts_with("back-off")) return "back_off";
  if (reason.starts_with("waiting")) return "inputs";
  return "store_full";
}

}  // namespace dasm
