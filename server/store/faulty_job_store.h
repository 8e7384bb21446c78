// A JobStore that fails on demand, for tests of what stands on one: a read that
// errs, a commit that is refused, and the nasty third, a commit that is done
// but answered with an error.
#ifndef DASM_SERVER_STORE_FAULTY_JOB_STORE_H_
#define DASM_SERVER_STORE_FAULTY_JOB_STORE_H_

#include <functional>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/store/job_store.h"

namespace dasm {

// Thread-safe. Borrows `inner`.
class FaultyJobStore final : public JobStore {
 public:
  enum class Method {
    kCommit,
    kLoadLive,
    kGetJob,
    kGetJobByRequestId,
    kGetTasks,
    kGetAction,
    kFindActionsByOutput,
    kListResults,
    kListLiveUsers,
    kListJobs,
    kListEvents,
    kCountJobs,
  };
  struct Fault {
    absl::Status status;    // the answer, not OK
    bool executed = false;  // the call is passed on, its answer replaced
    int count = 1;          // how many calls fail
    // kCommit: which transactions; empty: all.
    std::function<bool(const Transaction&)> matches;
  };

  explicit FaultyJobStore(JobStore* inner) : inner_(inner) {}

  // Replaces an earlier fault of the method.
  void Inject(Method method, Fault fault) {
    absl::MutexLock lock(&mutex_);
    faults_[method] = std::move(fault);
  }
  void Heal() {
    absl::MutexLock lock(&mutex_);
    faults_.clear();
  }

  using JobStore::Commit;
  void Commit(Transaction transaction,
              absl::AnyInvocable<void(absl::StatusOr<CommitReceipt>) &&> done)
      override {
    const Fault fault = Take(Method::kCommit, &transaction);
    if (fault.status.ok()) {
      inner_->Commit(std::move(transaction), std::move(done));
      return;
    }
    // An empty transaction keeps the order and the thread of the answers.
    if (!fault.executed) transaction = {};
    inner_->Commit(std::move(transaction),
                   [status = fault.status, done = std::move(done)](
                       absl::StatusOr<CommitReceipt>) mutable {
                     std::move(done)(status);
                   });
  }
  absl::StatusOr<Live> LoadLive() override {
    return Pass(Method::kLoadLive, [&] { return inner_->LoadLive(); });
  }
  absl::StatusOr<JobRecord> GetJob(const std::string& project,
                                   const std::string& id) override {
    return Pass(Method::kGetJob, [&] { return inner_->GetJob(project, id); });
  }
  absl::StatusOr<JobRecord> GetJobByRequestId(
      const std::string& project, const std::string& request_id) override {
    return Pass(Method::kGetJobByRequestId,
                [&] { return inner_->GetJobByRequestId(project, request_id); });
  }
  absl::StatusOr<std::vector<TaskRecord>> GetTasks(
      const std::string& job) override {
    return Pass(Method::kGetTasks, [&] { return inner_->GetTasks(job); });
  }
  absl::StatusOr<ActionRecord> GetAction(const std::string& key) override {
    return Pass(Method::kGetAction, [&] { return inner_->GetAction(key); });
  }
  absl::StatusOr<std::vector<ActionRecord>> FindActionsByOutput(
      const std::string& digest) override {
    return Pass(Method::kFindActionsByOutput,
                [&] { return inner_->FindActionsByOutput(digest); });
  }
  absl::StatusOr<std::vector<ActionRecord>> ListResults(
      const ResultFilter& filter, const ResultPosition& after,
      int limit) override {
    return Pass(Method::kListResults,
                [&] { return inner_->ListResults(filter, after, limit); });
  }
  absl::StatusOr<std::vector<JobRecord>> ListLiveUsers(
      const std::string& action_key) override {
    return Pass(Method::kListLiveUsers,
                [&] { return inner_->ListLiveUsers(action_key); });
  }
  absl::StatusOr<JobPage> ListJobs(const JobFilter& filter, int page_size,
                                   const std::string& page_token) override {
    return Pass(Method::kListJobs, [&] {
      return inner_->ListJobs(filter, page_size, page_token);
    });
  }
  absl::StatusOr<std::vector<EventRecord>> ListEvents(const std::string& job,
                                                      uint64_t after,
                                                      int limit) override {
    return Pass(Method::kListEvents,
                [&] { return inner_->ListEvents(job, after, limit); });
  }
  absl::StatusOr<std::map<JobState, int64_t>> CountJobs() override {
    return Pass(Method::kCountJobs, [&] { return inner_->CountJobs(); });
  }
  Statistics statistics() const override { return inner_->statistics(); }

 private:
  // The fault of this call, OK when there is none.
  Fault Take(Method method, const Transaction* transaction) {
    absl::MutexLock lock(&mutex_);
    const auto found = faults_.find(method);
    if (found == faults_.end() || found->second.count <= 0) return {};
    Fault& fault = found->second;
    if (transaction != nullptr && fault.matches &&
        !fault.matches(*transaction)) {
      return {};
    }
    --fault.count;
    return fault;
  }

  template <typename F>
  auto Pass(Method method, F&& call) -> decltype(call()) {
    const Fault fault = Take(method, nullptr);
    if (fault.status.ok()) return call();
    if (fault.executed) (void)call();
    return fault.status;
  }

  JobStore* const inner_;
  absl::Mutex mutex_;
  std::map<Method, Fault> faults_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace dasm

#endif  // DASM_SERVER_STORE_FAULTY_JOB_STORE_H_
