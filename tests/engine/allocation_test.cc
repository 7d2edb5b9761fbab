// SPDX-License-Identifier: Apache-2.0
// Nothing of ours allocates between two scales. operator new is replaced for the whole program and
// counts by caller: oneDNN allocates small things inside each call, which is not ours to change and
// is counted apart.
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <new>
#include <string_view>

#include "cache/kv_cache.h"
#include "nextscale/engine.h"
#include "support/small_model.h"
#include "support/temporary_folder.h"

namespace {

std::atomic<bool> counting = false;
std::atomic<int64_t> ours = 0;
std::atomic<int64_t> of_onednn = 0;

void count(const void* caller) {
  if (!counting.load(std::memory_order_relaxed)) return;
  Dl_info info{};
  const bool known = dladdr(caller, &info) != 0 && info.dli_fname != nullptr;
  const bool onednn =
      known && std::string_view(info.dli_fname).find("dnnl") != std::string_view::npos;
  (onednn ? of_onednn : ours).fetch_add(1, std::memory_order_relaxed);
}

}  // namespace

#define NEXTSCALE_NOINLINE __attribute__((noinline))

NEXTSCALE_NOINLINE void* operator new(size_t bytes, const std::nothrow_t&) noexcept {
  count(__builtin_return_address(0));
  return std::malloc(bytes == 0 ? 1 : bytes);
}
NEXTSCALE_NOINLINE void* operator new[](size_t bytes, const std::nothrow_t&) noexcept {
  count(__builtin_return_address(0));
  return std::malloc(bytes == 0 ? 1 : bytes);
}
NEXTSCALE_NOINLINE void* operator new(size_t bytes) {
  count(__builtin_return_address(0));
  if (void* memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  throw std::bad_alloc();
}
NEXTSCALE_NOINLINE void* operator new[](size_t bytes) {
  count(__builtin_return_address(0));
  if (void* memory = std::malloc(bytes == 0 ? 1 : bytes)) return memory;
  throw std::bad_alloc();
}
NEXTSCALE_NOINLINE void operator delete(void* memory) noexcept { std::free(memory); }
NEXTSCALE_NOINLINE void operator delete[](void* memory) noexcept { std::free(memory); }
NEXTSCALE_NOINLINE void operator delete(void* memory, size_t) noexcept { std::free(memory); }
NEXTSCALE_NOINLINE void operator delete[](void* memory, size_t) noexcept { std::free(memory); }

namespace nextscale {
namespace {

int64_t allocations(const std::string& model, Precision dtype, bool smooth,
                    const std::string& kv = "full", Precision kv_dtype = Precision::kAuto) {
  Engine engine({.model = model, .dtype = dtype, .kv_dtype = kv_dtype, .threads = 2});
  Request request{.classes = {"1", "2"}, .cfg = 2.0F, .top_k = 20, .top_p = 0.9F, .smooth = smooth};
  request.batch = 2;
  request.kv = kv;
  Events events;
  // Counts from the end of the first scale to the end of the last: everything that repeats.
  events.on_scale = [](const ScaleEvent& event) { counting = event.scale + 1 < event.num_scales; };
  engine.generate(request, events);
  ours = 0;
  of_onednn = 0;
  engine.generate(request, events);
  return ours;
}

TEST(Allocations, ThereAreNoneInTheLayerLoop) {
  const TemporaryFolder folder;
  const std::string model = make_model(folder.path(), small_var_shape(), DType::kF32).string();
  EXPECT_EQ(allocations(model, Precision::kF32, false), 0);
  EXPECT_GT(of_onednn, 0) << "the counter does not see what it should";
  EXPECT_EQ(allocations(model, Precision::kBF16, true), 0);
  EXPECT_EQ(allocations(model, Precision::kInt8, false), 0);
}

TEST(Allocations, PoliciesMakeNone) {
  const TemporaryFolder folder;
  const std::string model = make_model(folder.path(), small_var_shape(), DType::kF32).string();
  for (const char* kv : {"streaming", "h2o", "snapkv", "cake:alloc=uniform", "lookm"}) {
    EXPECT_EQ(allocations(model, Precision::kF32, false, kv), 0) << kv;
  }
}

TEST(Allocations, AnInt8CacheMakesNone) {
  const TemporaryFolder folder;
  const std::string model = make_model(folder.path(), small_var_shape(), DType::kF32).string();
  for (const char* kv : {"full", "lookm"}) {
    EXPECT_EQ(allocations(model, Precision::kF32, false, kv, Precision::kInt8), 0) << kv;
  }
}

TEST(Allocations, ListsThatShareMemoryMoveWithinIt) {
  const CacheShape shape{.layers = 2, .rows = 1, .kv_heads = 1, .head_dim = 4};
  Schedule schedule(4, 2, 1);
  for (const int step : {0, 1, 2}) schedule.cached(step, step % 2, 0) = 4;
  KvCache cache(shape, schedule);
  const std::vector<float> rows(16);
  const std::vector<int32_t> first_four{0, 1, 2, 3};
  KeptTokens kept{.current = {.k = rows.data(), .v = rows.data(), .tokens = 4}};
  Context context;
  context.num_threads = 2;
  ours = 0;
  counting = true;
  for (int step = 0; step < 3; ++step) {
    for (int64_t layer = 0; layer < 2; ++layer) {
      const auto length = static_cast<size_t>(schedule.cached(step, layer, 0));
      kept.positions = std::span(first_four).first(length);
      cache.store(context, layer, step, {&kept, 1});
    }
  }
  counting = false;
  EXPECT_EQ(ours, 0);
}

TEST(Allocations, TheCounterSeesOurs) {
  ours = 0;
  counting = true;
  operator delete(operator new(1));
  counting = false;
  EXPECT_EQ(ours, 1);
}

}  // namespace
}  // namespace nextscale
