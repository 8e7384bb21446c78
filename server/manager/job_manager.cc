#include "server/manager/job_manager.h"

#include <algorithm>
#include <climits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "common/base/error.h"
#include "common/base/logging.h"
#include "common/base/status_macros.h"
#include "dasm/v1/job_service.pb.h"
#include "server/job/state.h"
#include "server/manager/commit_waiter.h"
#include "server/scheduler/scheduler.h"

namespace dasm {
namespace {

constexpr absl::Duration kStepPeriod = absl::Milliseconds(100);
constexpr absl::Duration kReloadPeriod = absl::Seconds(1);
constexpr absl::Duration kGaugePeriod = absl::Seconds(1);
constexpr absl::Duration kForgetWorkerAfter = absl::Hours(1);
// Jobs in memory at a time: at least this, or this many for each slot.
constexpr size_t kLiveJobs = 32;
constexpr size_t kLiveJobsPerSlot = 4;
// More than that, while no task waits for a slot.
constexpr size_t kLiveJobsIdleFactor = 8;

absl::Status StoreDown() {
  return absl::UnavailableError(
      "the coordinator's store does not work at the moment; try again");
}

}  // namespace

JobManager::JobManager(Options options, Parts parts)
    : options_(std::move(options)),
      parts_(std::move(parts)),
      metrics_(parts_.metrics),
      table_(parts_.clock, options_.tool_version),
      workers_(parts_.clock, options_.lease,
               static_cast<uint64_t>(std::max<int64_t>(
                   1, absl::ToUnixMicros(parts_.clock->Now())))) {}

absl::StatusOr<std::unique_ptr<JobManager>> JobManager::Create(Options options,
                                                               Parts parts) {
  if (options.lease < absl::Seconds(1) || options.lease > absl::Hours(1)) {
    return InvalidField("lease", "must be between 1 s and 1 h");
  }
  std::unique_ptr<JobManager> manager(
      new JobManager(std::move(options), std::move(parts)));
  DASM_RETURN_IF_ERROR(manager->Load());
  manager->MeasureFreeSpace();
  manager->RefreshGauges();
  return manager;
}

JobManager::~JobManager() { Stop(); }

void JobManager::Start() {
  thread_ = std::thread([this] { Run(); });
}

void JobManager::Run() {
  for (;;) {
    {
      absl::MutexLock lock(&mutex_);
      mutex_.AwaitWithTimeout(absl::Condition(&kicked_), kStepPeriod);
      kicked_ = false;
      if (stopped_) return;
    }
    Step();
  }
}

void JobManager::Kick() {
  absl::MutexLock lock(&mutex_);
  kicked_ = true;
}

void JobManager::Stop() {
  After after;
  {
    absl::MutexLock lock(&mutex_);
    stopped_ = true;
    kicked_ = true;
    for (auto& [id, worker] : workers_.all()) {
      if (!worker.held.has_value()) continue;
      after.push_back([done = *std::move(worker.held)]() mutable {
        std::move(done)(absl::UnavailableError("the coordinator is stopping"));
      });
      worker.held.reset();
    }
  }
  for (auto& call : after) std::move(call)();
  hub_.Close();
  if (thread_.joinable()) thread_.join();
  absl::MutexLock lock(&mutex_);
  const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return in_flight_ == 0;
  };
  mutex_.Await(absl::Condition(&idle));
}

absl::Status JobManager::Load() {
  DASM_ASSIGN_OR_RETURN(JobStore::Live live, parts_.store->LoadLive());
  After after;
  {
    absl::MutexLock lock(&mutex_);
    table_.Clear();
    queue_.clear();
    Changes changes;
    for (ActionRecord& action : live.actions) {
      table_.AddAction(std::move(action));
    }
    std::map<std::string, std::vector<TaskRecord>> tasks;
    for (TaskRecord& task : live.tasks) {
      tasks[task.job].push_back(std::move(task));
    }
    for (JobRecord& job : live.jobs) {
      if (job.state == JobState::kQueued) {
        queue_[KeyOf(job)] = {job.project};
      } else {
        std::vector<TaskRecord> own = std::move(tasks[job.id]);
        table_.AddJob(std::move(job), std::move(own), &changes);
      }
    }
    table_.Evict();
    workers_.drained().clear();
    for (const WorkerRecord& worker : live.workers) {
      if (worker.draining) workers_.drained().insert(worker.id);
    }
    for (const std::string& worker : table_.PlacedWorkers()) {
      workers_.FindOrAdd(worker);
      workers_.leases().Restore(worker);
    }
    broken_ = false;
    for (auto& [id, worker] : workers_.all()) News(id, &after);
    if (!changes.empty()) Enqueue(std::move(changes), nullptr);
    DASM_LOG(INFO, "state loaded")
        .Kv("live_jobs", table_.jobs().size())
        .Kv("queued_jobs", queue_.size())
        .Kv("actions", table_.actions().size());
  }
  for (auto& call : after) std::move(call)();
  return absl::OkStatus();
}

void JobManager::ReloadIfBroken() {
  {
    absl::MutexLock lock(&mutex_);
    if (!broken_ || in_flight_ > 0 || stopped_) return;
    if (parts_.clock->Steady() < reload_at_) return;
    reload_at_ = parts_.clock->Steady() + kReloadPeriod;
  }
  // Writable again? An empty disk to write to is what most failures lack.
  const absl::Status written = Barrier();
  const absl::Status loaded = written.ok() ? Load() : written;
  if (!loaded.ok()) {
    DASM_LOG(WARNING, "store still does not work")
        .Kv("error", std::string(loaded.message()));
  }
}

void JobManager::Step() {
  absl::MutexLock step(&step_mutex_);
  ReloadIfBroken();
  MeasureFreeSpace();
  After after;
  {
    absl::MutexLock lock(&mutex_);
    if (!CheckReady().ok()) return;
    ExpireLeases();
    const absl::Duration now = parts_.clock->Steady();
    for (auto& [id, worker] : workers_.all()) {
      if (!worker.held.has_value() || now < worker.held_until) continue;
      after.push_back(
          [done = *std::move(worker.held), orders = OrdersFor(id)]() mutable {
            std::move(done)(std::move(orders));
          });
      worker.held.reset();
    }
  }
  for (auto& call : after) std::move(call)();
  for (bool more = true; more;) {
    more = Admit();
    more = BindTasks() || more;
  }
  Schedule();
  RefreshGauges();
}

absl::Status JobManager::CheckReady() {
  if (stopped_) return absl::UnavailableError("the coordinator is stopping");
  if (broken_) return StoreDown();
  return absl::OkStatus();
}

void JobManager::Enqueue(Changes changes, CommitDone done) {
  Transaction transaction = table_.ToTransaction(changes);
  ++in_flight_;
  const absl::Duration start = parts_.clock->Steady();
  parts_.store->Commit(
      std::move(transaction),
      [this, changes = std::move(changes), start,
       done = std::move(done)](absl::StatusOr<CommitReceipt> receipt) mutable {
        OnCommitted(changes, receipt.status(), parts_.clock->Steady() - start,
                    std::move(done));
      });
}

void JobManager::OnCommitted(const Changes& changes, const absl::Status& status,
                             absl::Duration took, CommitDone done) {
  After after;
  {
    absl::MutexLock lock(&mutex_);
    table_.Committed(changes, status.ok());
    if (!status.ok()) {
      // The memory is ahead of the store now, and so is whatever was queued
      // behind: nothing more is told to anybody until it was read again.
      broken_ = true;
      DASM_LOG(ERROR, "commit failed")
          .Kv("error", std::string(status.message()));
    } else if (!broken_) {
      metrics_.Count(changes);
      metrics_.CommitTook(took);
      for (const std::string& worker : changes.workers) News(worker, &after);
      table_.Evict();
    }
  }
  if (done != nullptr) std::move(done)(status);
  for (auto& call : after) std::move(call)();
  if (status.ok()) {
    std::set<std::string> jobs;
    for (const EventRecord& event : changes.events) jobs.insert(event.job);
    for (const std::string& job : jobs) hub_.Notify(job, {});
  }
  // Last, because Stop lets the manager go once nothing is under way.
  absl::MutexLock lock(&mutex_);
  --in_flight_;
  kicked_ = true;
}

absl::Status JobManager::Barrier() {
  CommitWaiter waiter;
  {
    absl::MutexLock lock(&mutex_);
    Enqueue({}, waiter.Callback());
  }
  return waiter.Wait();
}

JobManager::QueueKey JobManager::KeyOf(const JobRecord& job) {
  return {-job.priority, absl::ToUnixMicros(job.create_time), job.id};
}

void JobManager::MeasureFreeSpace() {
  if (parts_.free_bytes == nullptr || options_.min_free_bytes <= 0) return;
  {
    absl::MutexLock lock(&mutex_);
    if (parts_.clock->Steady() < space_at_) return;
    space_at_ = parts_.clock->Steady() + absl::Seconds(1);
  }
  const absl::StatusOr<int64_t> free = parts_.free_bytes();
  absl::MutexLock lock(&mutex_);
  const bool full = free.ok() && *free < options_.min_free_bytes;
  if (full != nearly_full_) {
    DASM_LOG(WARNING, full ? "store is nearly full" : "store has space again");
  }
  nearly_full_ = full;
}

absl::Status JobManager::CheckFreeSpace() {
  MeasureFreeSpace();
  absl::MutexLock lock(&mutex_);
  if (!nearly_full_) return absl::OkStatus();
  return WithReason(
      absl::ResourceExhaustedError(absl::StrCat(
          "the store has less than ", options_.min_free_bytes >> 20,
          " MiB free (--min-free): free some space on the coordinator's disk")),
      "STORE_NEARLY_FULL");
}

std::string JobManager::Readiness() {
  absl::MutexLock lock(&mutex_);
  return std::string(CheckReady().message());
}

absl::StatusOr<JobRecord> JobManager::CreateJob(const std::string& project,
                                                const v1::JobSpec& spec,
                                                const std::string& request_id,
                                                bool validate_only) {
  if (request_id.size() > 128) {
    return InvalidField("request_id", "must have at most 128 characters");
  }
  const std::string digest = SpecDigest(spec);
  const auto earlier =
      [&](absl::StatusOr<JobRecord> job) -> absl::StatusOr<JobRecord> {
    if (!job.ok() || job->spec_digest == digest) return job;
    return WithReason(
        absl::AlreadyExistsError(absl::StrCat(
            "request ", request_id, " made job ", job->id,
            " from another spec; use a new request_id for a new job")),
        "REQUEST_ID_REUSED", "request_id");
  };
  if (!request_id.empty()) {
    const auto known = parts_.store->GetJobByRequestId(project, request_id);
    if (!absl::IsNotFound(known.status())) return earlier(known);
  }
  DASM_RETURN_IF_ERROR(CheckFreeSpace());
  DASM_ASSIGN_OR_RETURN(const Submission submission,
                        PrepareSubmission(spec, *parts_.roots, parts_.blobs));
  NewJob created =
      MakeJob(submission, spec, project, request_id, parts_.clock->Now());
  if (validate_only) {
    created.job.id.clear();
    created.job.uid.clear();
    return created.job;
  }
  // The first event of a job is made by hand: the job is not in memory yet.
  EventRecord event;
  event.job = created.job.id;
  event.time = created.job.create_time;
  event.type = "job_created";
  v1::JobEvent body;
  *body.mutable_time() = ToProto(event.time);
  body.set_type(event.type);
  *body.mutable_job() = ToProto(created.job, /*with_specs=*/false);
  event.body = body.SerializeAsString();
  Transaction transaction;
  transaction.insert_job = created.job;
  transaction.tasks = std::move(created.tasks);
  transaction.events.push_back(std::move(event));
  {
    absl::MutexLock lock(&mutex_);
    DASM_RETURN_IF_ERROR(CheckReady());
    ++in_flight_;
  }
  CommitWaiter waiter;
  const absl::Duration start = parts_.clock->Steady();
  parts_.store->Commit(std::move(transaction),
                       [&, callback = waiter.Callback()](
                           absl::StatusOr<CommitReceipt> receipt) mutable {
                         const absl::Status status = receipt.status();
                         {
                           absl::MutexLock lock(&mutex_);
                           if (status.ok())
                             queue_[KeyOf(created.job)] = {project};
                           metrics_.CommitTook(parts_.clock->Steady() - start);
                           --in_flight_;
                           kicked_ = true;
                         }
                         std::move(callback)(status);
                       });
  const absl::Status status = waiter.Wait();
  if (ReasonOf(status) == "REQUEST_ID_USED") {
    // The same request, tried twice at the same time.
    return earlier(parts_.store->GetJobByRequestId(project, request_id));
  }
  DASM_RETURN_IF_ERROR(status);
  return created.job;
}

absl::StatusOr<Submission> JobManager::Explain(const v1::JobSpec& spec) {
  return PrepareSubmission(spec, *parts_.roots, parts_.blobs);
}

std::string JobManager::PendingReason(const JobRecord& job,
                                      const TaskRecord& task) {
  if (task.state == TaskState::kPending) {
    const LiveAction* action = table_.FindAction(task.action_key);
    if (action != nullptr && !action->pending_reason.empty()) {
      return action->pending_reason;
    }
  }
  if (task.state == TaskState::kWaiting) {
    for (const auto& [name, input] : task.inputs) {
      if (!input.task.empty()) return "waiting for inputs";
    }
  }
  // What could start, but was not looked at yet.
  if (BestClass().empty()) return "no worker is connected";
  const auto it = queue_.find(KeyOf(job));
  if (it == queue_.end()) return "about to be scheduled";
  const auto ahead = std::distance(queue_.begin(), it) +
                     static_cast<int64_t>(table_.jobs().size());
  return absl::StrCat(ahead, ahead == 1 ? " job is" : " jobs are",
                      " ahead in the queue");
}

absl::StatusOr<JobView> JobManager::GetJob(const JobName& name,
                                           bool with_tasks) {
  JobView view;
  DASM_ASSIGN_OR_RETURN(view.job, parts_.store->GetJob(name.project, name.job));
  if (!with_tasks) return view;
  DASM_ASSIGN_OR_RETURN(std::vector<TaskRecord> tasks,
                        parts_.store->GetTasks(name.job));
  std::sort(
      tasks.begin(), tasks.end(),
      [](const TaskRecord& a, const TaskRecord& b) { return a.id < b.id; });
  for (TaskRecord& task : tasks) {
    TaskView& entry = view.tasks.emplace_back();
    entry.task = std::move(task);
    const std::string& key = entry.task.action_key;
    bool live = false;
    {
      absl::MutexLock lock(&mutex_);
      if (entry.task.state == TaskState::kWaiting ||
          entry.task.state == TaskState::kPending) {
        entry.pending_reason = PendingReason(view.job, entry.task);
      }
      const LiveAction* action = table_.FindAction(key);
      if (action != nullptr) {
        live = true;
        entry.action = action->record;
        if (entry.task.state == TaskState::kRunning) {
          entry.progress = action->progress;
        }
      }
    }
    if (live || key.empty()) continue;
    absl::StatusOr<ActionRecord> action = parts_.store->GetAction(key);
    if (action.ok()) {
      entry.action = *std::move(action);
    } else if (!absl::IsNotFound(action.status())) {
      return action.status();
    }
  }
  return view;
}

absl::StatusOr<JobRecord> JobManager::CancelJob(const JobName& name,
                                                const std::string& message) {
  for (int attempt = 0;; ++attempt) {
    CommitWaiter waiter;
    bool found = false;
    {
      absl::MutexLock lock(&mutex_);
      DASM_RETURN_IF_ERROR(CheckReady());
      LiveJob* job = table_.FindJob(name.job);
      if (job != nullptr && job->record.project == name.project) {
        found = true;
        Changes changes;
        table_.Cancel(job, message, &changes);
        // Empty when it has ended already: then this waits for that to be
        // durable.
        Enqueue(std::move(changes), waiter.Callback());
        kicked_ = true;
      }
    }
    if (found) {
      DASM_RETURN_IF_ERROR(waiter.Wait());
      return parts_.store->GetJob(name.project, name.job);
    }
    DASM_ASSIGN_OR_RETURN(JobRecord job,
                          parts_.store->GetJob(name.project, name.job));
    if (IsTerminal(job.state)) return job;
    if (attempt == 3) {
      return absl::InternalError(
          absl::StrCat("job ", name.job, " is not in memory"));
    }
    {
      // It was committed an instant ago and is about to enter the queue.
      absl::MutexLock lock(&mutex_);
      const auto entered = [&]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
        return queue_.contains(KeyOf(job)) ||
               table_.FindJob(job.id) != nullptr || broken_;
      };
      mutex_.AwaitWithTimeout(absl::Condition(&entered), absl::Seconds(2));
    }
    DASM_RETURN_IF_ERROR(BringIn(name.project, name.job, ""));
  }
}

std::string JobManager::BestClass() {
  std::string best;
  int most = 0;
  for (const auto& [id, worker] : workers_.all()) {  // in order of name
    if (workers_.StateOf(id) != WorkerState::kReady) continue;
    if (worker.report.slots > most) {
      most = worker.report.slots;
      best = worker.report.numerics_class;
    }
  }
  return best;
}

absl::Status JobManager::BringIn(const std::string& project,
                                 const std::string& id,
                                 const std::string& numerics_class) {
  DASM_ASSIGN_OR_RETURN(JobRecord job, parts_.store->GetJob(project, id));
  DASM_ASSIGN_OR_RETURN(std::vector<TaskRecord> tasks,
                        parts_.store->GetTasks(id));
  for (int attempt = 0; attempt < 10; ++attempt) {
    uint64_t evictions = 0;
    std::vector<std::string> unknown;
    {
      absl::MutexLock lock(&mutex_);
      evictions = table_.evictions();
      for (const TaskRecord& task : tasks) {
        if (!task.action_key.empty() &&
            table_.FindAction(task.action_key) == nullptr) {
          unknown.push_back(task.action_key);
        }
      }
    }
    std::vector<ActionRecord> actions;
    for (const std::string& key : unknown) {
      DASM_ASSIGN_OR_RETURN(ActionRecord action, parts_.store->GetAction(key));
      actions.push_back(std::move(action));
    }
    absl::MutexLock lock(&mutex_);
    // What was read may be older than what an eviction meanwhile left.
    if (!unknown.empty() && evictions != table_.evictions()) continue;
    DASM_RETURN_IF_ERROR(CheckReady());
    const QueueKey key = KeyOf(job);
    if (!queue_.contains(key)) return absl::OkStatus();
    queue_.erase(key);
    for (ActionRecord& action : actions) table_.AddAction(std::move(action));
    Changes changes;
    table_.AddJob(std::move(job), std::move(tasks), &changes);
    LiveJob* live = table_.FindJob(id);
    if (live->record.numerics_class.empty() && !numerics_class.empty()) {
      table_.ResolveClass(live, numerics_class, &changes);
    }
    if (!changes.empty()) Enqueue(std::move(changes), nullptr);
    return absl::OkStatus();
  }
  return absl::OkStatus();  // in the queue still: at the next step
}

bool JobManager::Admit() {
  bool any = false;
  for (;;) {
    std::string numerics_class;
    std::string project;
    std::string id;
    {
      absl::MutexLock lock(&mutex_);
      if (!CheckReady().ok() || queue_.empty()) return any;
      numerics_class = BestClass();
      if (numerics_class.empty()) return any;
      size_t slots = 0;
      for (const auto& [name, worker] : workers_.all()) {
        if (workers_.StateOf(name) == WorkerState::kReady) {
          slots += static_cast<size_t>(worker.report.slots);
        }
      }
      size_t limit = std::max(kLiveJobs, kLiveJobsPerSlot * slots);
      if (table_.pending().empty()) limit *= kLiveJobsIdleFactor;
      const auto& [key, queued] = *queue_.begin();
      if (table_.jobs().size() >= limit) {
        int lowest = INT_MAX;
        for (const auto& [job_id, job] : table_.jobs()) {
          lowest = std::min(lowest, job.record.priority);
        }
        if (-std::get<0>(key) <= lowest) return any;
      }
      id = std::get<2>(key);
      project = queued.project;
    }
    const absl::Status status = BringIn(project, id, numerics_class);
    if (!status.ok()) {
      DASM_LOG(ERROR, "queued job could not be read")
          .Kv("job", id)
          .Kv("error", std::string(status.message()));
      return any;
    }
    any = true;
  }
}

bool JobManager::BindTasks() {
  struct Candidate {
    TaskKey task;
    ActionRecord action;
    bool in_memory = false;
    bool succeeded = false;  // as far as known when read
    bool complete = false;
  };
  std::vector<Candidate> candidates;
  uint64_t evictions = 0;
  {
    absl::MutexLock lock(&mutex_);
    if (!CheckReady().ok()) return false;
    evictions = table_.evictions();
    Changes changes;
    for (TaskKey& key : table_.Bindable()) {
      absl::StatusOr<ActionRecord> action = table_.ActionOf(key);
      if (!action.ok()) {
        table_.Fail(table_.FindJob(key.job),
                    {std::string(FailureClassName(FailureClass::kInternal)),
                     std::string(action.status().message()), key.task},
                    &changes);
        continue;
      }
      Candidate& candidate = candidates.emplace_back();
      candidate.task = std::move(key);
      candidate.action = *std::move(action);
      const LiveAction* known = table_.FindAction(candidate.action.key);
      if (known == nullptr) continue;
      candidate.in_memory = true;
      candidate.succeeded = known->record.state == ActionState::kSucceeded;
      if (candidate.succeeded) candidate.action = known->record;
    }
    if (!changes.empty()) Enqueue(std::move(changes), nullptr);
  }
  for (Candidate& candidate : candidates) {
    if (!candidate.in_memory) {
      absl::StatusOr<ActionRecord> stored =
          parts_.store->GetAction(candidate.action.key);
      if (stored.ok()) {
        const double interval = candidate.action.checkpoint_interval;
        candidate.action = *std::move(stored);
        candidate.action.checkpoint_interval = interval;
        candidate.succeeded = candidate.action.state == ActionState::kSucceeded;
      } else if (!absl::IsNotFound(stored.status())) {
        return false;  // the tasks are looked at again at the next step
      }
    }
    if (!candidate.succeeded) continue;
    std::vector<std::string> digests;
    for (const auto& [name, output] : candidate.action.outputs) {
      digests.push_back(output.blob.digest);
    }
    candidate.complete = parts_.blobs->FindMissing(digests).empty();
  }
  bool bound = false;
  absl::MutexLock lock(&mutex_);
  if (!CheckReady().ok()) return false;
  Changes changes;
  for (Candidate& candidate : candidates) {
    const LiveJob* job = table_.FindJob(candidate.task.job);
    if (job == nullptr || IsTerminal(job->record.state)) continue;
    const TaskRecord& task = job->tasks.at(candidate.task.task);
    if (task.state != TaskState::kWaiting) continue;
    const LiveAction* known = table_.FindAction(candidate.action.key);
    if (known == nullptr &&
        (candidate.in_memory || evictions != table_.evictions())) {
      continue;  // what was read may be old
    }
    // One that succeeded since then did so with every blob present.
    const bool complete = candidate.complete || !candidate.succeeded;
    metrics_.CacheRequest(table_.Bind(
        candidate.task, std::move(candidate.action), complete, &changes));
    bound = true;
  }
  if (!changes.empty()) Enqueue(std::move(changes), nullptr);
  return bound;
}

int JobManager::BusySlots(const LiveWorker& worker) {
  const std::string& id = worker.report.worker;
  int busy = 0;
  std::set<AttemptName> counted;
  for (const std::string& key : table_.RunningOn(id)) {
    const LiveAction* action = table_.FindAction(key);
    for (size_t rank = 0; rank < action->workers.size(); ++rank) {
      if (action->workers[rank] != id) continue;
      counted.insert({key, action->record.fence, static_cast<int>(rank)});
      ++busy;
    }
  }
  // Older attempts that the worker has yet to end hold their slots.
  for (const AttemptName& attempt : worker.report.running) {
    if (!counted.contains(attempt)) ++busy;
  }
  return busy;
}

void JobManager::Schedule() {
  absl::MutexLock lock(&mutex_);
  if (!CheckReady().ok() || table_.pending().empty()) return;
  const absl::Duration start = parts_.clock->Steady();
  SchedulerSnapshot snapshot;
  snapshot.now = parts_.clock->Now();
  snapshot.store_nearly_full = nearly_full_;
  for (const auto& [id, worker] : workers_.all()) {
    if (workers_.StateOf(id) != WorkerState::kReady) continue;
    snapshot.workers.push_back({.id = id,
                                .numerics_class = worker.report.numerics_class,
                                .slots = worker.report.slots,
                                .busy = BusySlots(worker),
                                .blobs = &worker.blobs});
  }
  std::set<std::string> being_made;
  for (const std::string& key : table_.repairs()) {
    for (const auto& [name, output] : table_.FindAction(key)->record.outputs) {
      being_made.insert(output.blob.digest);
    }
  }
  for (const std::string& key : table_.pending()) {
    const LiveAction* action = table_.FindAction(key);
    if (!table_.IsWanted(*action)) continue;
    const ActionRecord& record = action->record;
    SchedulerRequest request;
    request.key = key;
    request.ranks = record.ranks;
    request.priority = table_.PriorityOf(*action);
    request.order = absl::ToUnixMicros(table_.OldestClaim(*action));
    request.chain = table_.ChainOf(*action);
    request.numerics_class = record.numerics_class;
    request.not_before = record.not_before;
    request.avoid_worker = record.avoid_worker;
    for (const auto& [name, blob] : record.inputs) {
      request.inputs.push_back({blob.digest, blob.size_bytes});
      if (being_made.contains(blob.digest)) request.inputs_ready = false;
    }
    snapshot.requests.push_back(std::move(request));
  }
  const dasm::Schedule schedule = MakeSchedule(snapshot);
  std::map<std::string, int> by_reason;
  for (const auto& [key, reason] : schedule.reasons) {
    table_.FindAction(key)->pending_reason = reason;
    ++by_reason[std::string(PendingLabel(reason))];
  }
  if (!queue_.empty()) by_reason["queued"] = static_cast<int>(queue_.size());
  metrics_.SetPending(by_reason);
  Changes changes;
  for (const Placement& placement : schedule.placements) {
    LiveAction* action = table_.FindAction(placement.key);
    if (action->record.attempts == 0) {
      metrics_.QueueWait(parts_.clock->Now() - action->pending_since);
    }
    for (const auto& [name, blob] : action->record.inputs) {
      for (const std::string& worker : placement.workers) {
        workers_.FindOrAdd(worker)->Remember(blob.digest);
      }
    }
    table_.Place(action, placement.workers, &changes);
  }
  if (!changes.empty()) Enqueue(std::move(changes), nullptr);
  metrics_.SchedulingTook(parts_.clock->Steady() - start);
}

void JobManager::RefreshGauges() {
  {
    absl::MutexLock lock(&mutex_);
    if (parts_.clock->Steady() < gauges_at_) return;
    gauges_at_ = parts_.clock->Steady() + kGaugePeriod;
    std::map<std::string, int> by_state;
    std::vector<std::string> gone;
    for (const auto& [id, worker] : workers_.all()) {
      switch (workers_.StateOf(id)) {
        case WorkerState::kReady:
          ++by_state["READY"];
          break;
        case WorkerState::kDraining:
          ++by_state["DRAINING"];
          break;
        case WorkerState::kUnknown:
          ++by_state["UNKNOWN"];
          if (!workers_.leases().IsLive(id) &&
              parts_.clock->Now() - worker.last_seen > kForgetWorkerAfter) {
            gone.push_back(id);
          }
          break;
      }
    }
    for (const std::string& id : gone) workers_.Remove(id);
    metrics_.SetWorkers(by_state);
    if (table_.pending().empty()) {
      metrics_.SetPending({{"queued", static_cast<int>(queue_.size())}});
    }
  }
  const auto jobs = parts_.store->CountJobs();
  if (jobs.ok()) metrics_.SetJobs(*jobs);
}

}  // namespace dasm
