// SPDX-License-Identifier: Apache-2.0
#include "pending_pictures.h"

#include "core/error_format.h"

namespace nextscale::cli {
namespace {

// Prompts of a group are encoded together, which costs reading the text encoder once; their
// features stay in memory until the group is done.
constexpr size_t kMaxGroupPrompts = 64;

PictureKey key_of(const FilePrompt& source, int64_t image) {
  return {.file = fmt::format("{}_{:03}.png", source.stem(), image),
          .prompt = source.prompt,
          .seed = *source.seed,
          .image = image};
}

// The pictures of a prompt that are not done.
std::vector<PictureRun> pending_runs(const FilePrompt& source, int64_t first_image,
                                     const Manifest& manifest) {
  std::vector<PictureRun> runs;
  for (int64_t image = first_image; image < first_image + *source.images; ++image) {
    if (manifest.has(key_of(source, image))) continue;
    const bool goes_on = !runs.empty() && runs.back().first_image + runs.back().images == image;
    if (goes_on) {
      ++runs.back().images;
    } else {
      runs.push_back({.source = source, .first_image = image, .images = 1});
    }
  }
  return runs;
}

bool are_alike(const PictureRun& one, const PictureRun& other) {
  return one.source.seed == other.source.seed && one.first_image == other.first_image &&
         one.images == other.images;
}

}  // namespace

PictureKey PictureRun::key(int64_t image) const { return key_of(source, image); }

const PictureRun* PendingPictures::peek() {
  while (num_taken_ == runs_.size()) {
    std::optional<FilePrompt> next = file_.next();
    if (!next) return nullptr;
    if (!next->prompt.negative) next->prompt.negative = defaults_.negative;
    if (!next->seed) next->seed = defaults_.seed;
    if (!next->images) next->images = defaults_.images_each;
    runs_ = pending_runs(*next, defaults_.first_image, manifest_);
    num_taken_ = 0;
  }
  return &runs_[num_taken_];
}

std::vector<PictureRun> PendingPictures::next_group() {
  std::vector<PictureRun> group;
  while (group.size() < kMaxGroupPrompts) {
    const PictureRun* next = peek();
    if (next == nullptr || (!group.empty() && !are_alike(group.front(), *next))) break;
    group.push_back(*next);
    ++num_taken_;
  }
  return group;
}

int64_t count_pending(PendingPictures pending) {
  int64_t images = 0;
  for (auto group = pending.next_group(); !group.empty(); group = pending.next_group()) {
    for (const PictureRun& run : group) images += run.images;
  }
  return images;
}

}  // namespace nextscale::cli
