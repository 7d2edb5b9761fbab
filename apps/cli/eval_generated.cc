// SPDX-License-Identifier: Apache-2.0
// eval -m: what pictures of a model should show, as requests; each picture is looked at when it is
// there and forgotten.
#include <map>
#include <nlohmann/json.hpp>
#include <utility>

#include "core/error_format.h"
#include "eval_options.h"
#include "expectation_file.h"
#include "generation_watch.h"
#include "prompt_file.h"

namespace nextscale::cli {
namespace {

// Prompts of a request are encoded together.
constexpr size_t kMaxRequestPrompts = 64;

// One request, and what the pictures of each of its subjects should show: equal shares of its
// images, in order.
struct ExpectedRequest {
  Request request;
  std::vector<std::vector<Expectation>> expected;  // [subjects][shares]

  int64_t num_images() const { return static_cast<int64_t>(expected.size()) * request.images_each; }
  const Expectation& of(const GeneratedImage& image) const {
    const auto& shares = expected[static_cast<size_t>(image.subject)];
    const int64_t share =
        (image.image_index - request.first_image) * std::ssize(shares) / request.images_each;
    return shares[static_cast<size_t>(share)];
  }
};

// A line each.
std::vector<ExpectedRequest> prompt_requests(const EvalOptions& options, const Request& settings,
                                             const JudgeLabels& labels) {
  if (options.expect.empty()) {
    fail(ErrorCode::kUsage,
         "--expect: none given, but this model reads prompts; give a .jsonl that says of each "
         "prompt what its pictures should show");
  }
  std::vector<ExpectedRequest> requests;
  PromptFile prompts(options.expect, PromptForm::kJsonLines);
  for (const ExpectedPicture& each : read_expectations(options.expect, labels)) {
    const FilePrompt prompt = *prompts.next();  // both pass over the same lines
    const uint64_t seed = prompt.seed.value_or(settings.seed);
    const int64_t images = prompt.images.value_or(settings.images_each);
    if (requests.empty() || requests.back().expected.size() == kMaxRequestPrompts ||
        requests.back().request.seed != seed || requests.back().request.images_each != images) {
      requests.push_back({.request = settings, .expected = {}});
      requests.back().request.seed = seed;
      requests.back().request.images_each = images;
    }
    requests.back().request.prompts.push_back(prompt.prompt);
    requests.back().expected.push_back({each.expectation});
  }
  return requests;
}

// Classes by number, and what their pictures should show.
using ExpectedClasses = std::map<int64_t, std::vector<Expectation>>;

ExpectedClasses classes_of_file(const EvalOptions& options, const Engine& engine,
                                const JudgeLabels& labels) {
  ExpectedClasses classes;
  for (ExpectedPicture& each : read_expectations(options.expect, labels)) {
    if (each.class_name.empty()) {
      fail(ErrorCode::kBadFile,
           "expectations: line {} of {} has no \"class\", wanted one: this model makes pictures of "
           "classes",
           each.line, printable(options.expect));
    }
    each.expectation.color.reset();  // a class says nothing of the background
    classes[engine.class_index(each.class_name)].push_back(each.expectation);
  }
  return classes;
}

ExpectedClasses classes_by_name(const Request& settings, const Engine& engine,
                                const JudgeLabels& labels) {
  const std::vector<std::string> names = engine.class_names();
  if (names.empty()) {
    fail(ErrorCode::kMismatch,
         "eval: the classes of this model have no names that the judge could look for; convert it "
         "with --class-names, or say with --expect what each class shows");
  }
  std::vector<int64_t> numbers;
  for (const std::string& text : settings.classes) numbers.push_back(engine.class_index(text));
  for (int64_t number = 0; settings.classes.empty() && number < engine.num_classes(); ++number) {
    numbers.push_back(number);
  }
  ExpectedClasses classes;
  for (const int64_t number : numbers) {
    const std::string& name = names[static_cast<size_t>(number)];
    const std::optional<Expectation> expected = expect_class(labels, name);
    if (!expected) {
      fail(ErrorCode::kMismatch,
           "eval: class {} is called '{}', which this judge does not know; give the judge of these "
           "classes, or leave the class out with --class",
           number, printable(name));
    }
    classes[number] = {*expected};
  }
  return classes;
}

// Classes with as many pictures go together.
std::vector<ExpectedRequest> class_requests(const ExpectedClasses& classes,
                                            const Request& settings) {
  std::map<size_t, ExpectedRequest> by_shares;
  for (const auto& [number, expected] : classes) {
    ExpectedRequest& each = by_shares[expected.size()];
    if (each.expected.empty()) {
      each.request = settings;
      each.request.classes.clear();
      each.request.images_each = settings.images_each * std::ssize(expected);
    }
    each.request.classes.push_back(std::to_string(number));
    each.expected.push_back(expected);
  }
  std::vector<ExpectedRequest> requests;
  requests.reserve(by_shares.size());
  for (auto& [shares, request] : by_shares) requests.push_back(std::move(request));
  return requests;
}

std::vector<ExpectedRequest> all_requests(const EvalOptions& options, const Engine& engine,
                                          const JudgeLabels& labels) {
  const Request settings = options.run.checked_request();
  if (engine.num_classes() == 0) {
    for (const std::string& text : settings.classes) engine.class_index(text);  // says what is read
    return prompt_requests(options, settings, labels);
  }
  if (!options.expect.empty() && !settings.classes.empty()) {
    fail(ErrorCode::kUsage, "--expect: got --class too, which says something else; keep one");
  }
  return class_requests(options.expect.empty() ? classes_by_name(settings, engine, labels)
                                               : classes_of_file(options, engine, labels),
                        settings);
}

}  // namespace

JudgedGeneration judge_generated(const EvalOptions& options, Judge& judge) {
  Engine engine(options.run.engine_options());
  const std::vector<ExpectedRequest> requests = all_requests(options, engine, judge.labels());
  int64_t num_images = 0;
  for (const ExpectedRequest& each : requests) num_images += each.num_images();
  if (!options.against.empty()) require_frechet_size(num_images, judge.config().num_features());
  JudgedGeneration result{.seen = JudgedSet(judge.config()), .summary = {}};
  GenerationWatch watch(num_images, options.verbose ? ScaleLines::kAll : ScaleLines::kLast);
  for (const ExpectedRequest& each : requests) {
    Events events = watch.events(result.seen.size());
    events.on_image = [&](const GeneratedImage& image) {
      result.seen.add(judge.look(image.image), each.of(image));
    };
    engine.generate(each.request, events);
  }
  watch.note_summary(engine);
  result.summary = watch.summary(engine);
  result.summary["settings"] = nlohmann::json::parse(engine.settings(requests.front().request));
  return result;
}

}  // namespace nextscale::cli
