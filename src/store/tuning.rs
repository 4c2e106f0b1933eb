//! Decides how RocksDB is tuned: what the store costs in memory, how each
//! column family is laid out, and which of them a store has.

use std::path::Path;

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType,
    DBRecoveryMode, Options, SliceTransform,
};

use super::counters;
use super::keys::{self, Family};

/// What the store costs in memory.
#[derive(Debug, Clone)]
pub struct Tuning {
    /// Block cache, in bytes; index and filter blocks live in it.
    pub block_cache_bytes: usize,
    /// Memory of one write buffer, in bytes.
    pub write_buffer_bytes: usize,
    /// The write-ahead log is cut once it holds this many bytes.
    pub max_wal_bytes: u64,
}

impl Default for Tuning {
    fn default() -> Self {
        Self { block_cache_bytes: 256 << 20, write_buffer_bytes: 64 << 20, max_wal_bytes: 512 << 20 }
    }
}

/// How the engine itself is opened.
pub(super) fn engine_options(tuning: &Tuning, create: bool) -> Options {
    let mut options = Options::default();
    options.create_if_missing(create);
    options.create_missing_column_families(create);
    // The default recovery, to a point in time, silently drops what was
    // acknowledged after a damage in the middle; this one forgives only a
    // tail that a cut-off write leaves, and it cannot recycle log files.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_recycle_log_file_num(0);
    options.set_max_total_wal_size(tuning.max_wal_bytes);
    options.set_max_background_jobs(2);
    options.set_max_open_files(512);
    options.set_keep_log_file_num(4);
    options.set_max_log_file_size(4 << 20);
    options.set_bytes_per_sync(1 << 20);
    options.set_enable_pipelined_write(false);
    options.set_allow_concurrent_memtable_write(false);
    options.set_stats_dump_period_sec(0);
    options.set_paranoid_checks(true);
    options
}

/// How the column families of one store are opened: all of them share a cache.
pub(super) struct Families {
    tuning: Tuning,
    cache: Cache,
}

impl Families {
    pub(super) fn new(tuning: &Tuning) -> Self {
        Self { tuning: tuning.clone(), cache: Cache::new_lru_cache(tuning.block_cache_bytes) }
    }

    /// Those of a new store.
    pub(super) fn all(&self) -> Vec<ColumnFamilyDescriptor> {
        self.of(&Family::ALL)
    }

    /// Those of the store in `path`: one of a format before has none for
    /// sightings.
    pub(super) fn of_store(&self, path: &Path) -> Vec<ColumnFamilyDescriptor> {
        // Where it cannot be told, opening says why.
        let Ok(there) = DB::list_cf(&engine_options(&self.tuning, false), path) else { return self.all() };
        let is_there =
            |family: &Family| *family != Family::Sightings || there.iter().any(|name| name == family.name());
        self.of(&Family::ALL.into_iter().filter(is_there).collect::<Vec<_>>())
    }

    fn of(&self, families: &[Family]) -> Vec<ColumnFamilyDescriptor> {
        families
            .iter()
            .map(|family| ColumnFamilyDescriptor::new(family.name(), self.options(*family)))
            .collect()
    }

    /// How one family is laid out.
    pub(super) fn options(&self, family: Family) -> Options {
        family_options(family, &self.tuning, &self.cache)
    }
}

fn family_options(family: Family, tuning: &Tuning, cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_format_version(6);
    table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
    table.set_partition_filters(true);
    table.set_metadata_block_size(4 << 10);
    table.set_cache_index_and_filter_blocks(true);
    table.set_cache_index_and_filter_blocks_with_high_priority(true);
    table.set_pin_top_level_index_and_filter(true);
    let mut options = if family == Family::Counters { counters::options() } else { Options::default() };
    options.set_write_buffer_size(tuning.write_buffer_bytes);
    options.set_max_write_buffer_number(3);
    options.set_compression_type(DBCompressionType::Lz4);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_target_file_size_base(64 << 20);
    match family {
        Family::Log => {
            // A block is a chunk or two: whoever asks for single rows unpacks
            // no more than that, and long scans hardly notice. No filter.
            table.set_block_size(8 << 10);
            options.set_bottommost_compression_type(DBCompressionType::Lz4);
        }
        Family::Values | Family::Latest => {
            table.set_bloom_filter(10.0, false);
            table.set_whole_key_filtering(true);
            table.set_block_size(4 << 10);
            if matches!(family, Family::Values) {
                // Most values that are asked for are new: the write buffer
                // says so without a walk through its skip list.
                options.set_memtable_prefix_bloom_ratio(0.05);
                options.set_memtable_whole_key_filtering(true);
            }
            options.set_bottommost_compression_type(DBCompressionType::Lz4);
        }
        Family::Postings => {
            table.set_bloom_filter(10.0, false);
            table.set_whole_key_filtering(false);
            options.set_prefix_extractor(SliceTransform::create_fixed_prefix(keys::POSTING_PREFIX_BYTES));
            options.set_bottommost_compression_type(DBCompressionType::Zstd);
        }
        Family::Sightings => {
            // Few records have any, and the filters say which; who asks for
            // one sighting of a record asks for its neighbours.
            table.set_bloom_filter(10.0, false);
            table.set_whole_key_filtering(false);
            table.set_block_size(8 << 10);
            options.set_prefix_extractor(SliceTransform::create_fixed_prefix(keys::SIGHTING_PREFIX_BYTES));
            options.set_write_buffer_size(tuning.write_buffer_bytes / 4);
            // Those that questions come back to are in memory: [`crate::hub::sighted`].
            options.set_bottommost_compression_type(DBCompressionType::Zstd);
        }
        Family::Counters => {
            options.set_write_buffer_size(8 << 20);
            options.set_bottommost_compression_type(DBCompressionType::Zstd);
        }
        Family::Meta | Family::Records | Family::Audit | Family::Cursors => {
            options.set_write_buffer_size(8 << 20);
            options.set_bottommost_compression_type(DBCompressionType::Zstd);
        }
    }
    options.set_block_based_table_factory(&table);
    options
}
