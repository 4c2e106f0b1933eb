//! Decides how counts are drawn as SVG: bars from the left for rows, columns
//! for spans of time, a line for each row where both are asked for.

use plotters::prelude::*;

use super::terminal::cut;

/// Size of a drawing.
const SIZE: (u32, u32) = (960, 480);
/// Height of a row, and what stands around all of them.
const ROW: u32 = 22;
const AROUND: u32 = 110;
/// Longest name that is written in full.
const NAME: usize = 28;
/// Most lines in one drawing: more are not told apart.
const LINES: usize = 10;
const FONT: (&str, u32) = ("sans-serif", 13);
const COLOUR: RGBColor = RGBColor(0x2f, 0x6f, 0xa7);
/// Told apart by those who see colours differently, too (Okabe and Ito).
const COLOURS: [RGBColor; LINES] = [
    RGBColor(0x00, 0x72, 0xb2),
    RGBColor(0xd5, 0x5e, 0x00),
    RGBColor(0x00, 0x9e, 0x73),
    RGBColor(0xcc, 0x79, 0xa7),
    RGBColor(0xe6, 0x9f, 0x00),
    RGBColor(0x56, 0xb4, 0xe9),
    RGBColor(0x55, 0x55, 0x55),
    RGBColor(0x99, 0x33, 0x33),
    RGBColor(0x00, 0x00, 0x00),
    RGBColor(0x66, 0x3a, 0xb6),
];

/// What is drawn.
#[derive(Debug)]
pub(super) struct Chart<'a> {
    /// What it is of.
    pub(super) title: &'a str,
    /// Names and counts, of all of time and of each span.
    pub(super) rows: Vec<(&'a str, u64, &'a [u64])>,
    /// Names of the spans; none: only the rows are drawn.
    pub(super) spans: &'a [String],
    /// All together by spans.
    pub(super) whole: &'a [u64],
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

impl Chart<'_> {
    /// The drawing; an error is one of the library that draws.
    pub(super) fn svg(&self) -> Result<String, String> {
        let mut svg = String::new();
        let drawn = if self.spans.is_empty() {
            self.bars(&mut svg)
        } else if self.rows.is_empty() {
            self.columns(&mut svg)
        } else {
            self.lines(&mut svg)
        };
        drawn.map_err(|error| error.to_string())?;
        Ok(svg)
    }

    fn bars(&self, svg: &mut String) -> Drawn {
        let rows = i32::try_from(self.rows.len())?.max(1);
        let height = AROUND + ROW * u32::try_from(rows)?;
        let most = self.rows.iter().map(|(_, count, _)| *count).max().unwrap_or_default().max(1);
        let root = SVGBackend::with_string(svg, (SIZE.0, height)).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(self.title, ("sans-serif", 18))
            .margin(14)
            .x_label_area_size(30)
            .y_label_area_size(220)
            .build_cartesian_2d(0..most, (0..rows).into_segmented())?;
        let name = |at: &SegmentValue<i32>| match at {
            SegmentValue::CenterOf(at) => self.name(rows - 1 - at),
            _ => String::new(),
        };
        chart
            .configure_mesh()
            .disable_y_mesh()
            .y_labels(self.rows.len().max(1))
            .y_label_formatter(&name)
            .label_style(FONT)
            .draw()?;
        chart.draw_series(self.rows.iter().zip((0..rows).rev()).map(|((_, count, _), at)| {
            let mut bar = Rectangle::new(
                [(0, SegmentValue::Exact(at)), (*count, SegmentValue::Exact(at + 1))],
                COLOUR.filled(),
            );
            bar.set_margin(3, 3, 0, 0);
            bar
        }))?;
        root.present()?;
        Ok(())
    }

    /// The name of a row, counted from the first.
    fn name(&self, at: i32) -> String {
        let row = usize::try_from(at).ok().and_then(|at| self.rows.get(at));
        row.map(|(name, count, _)| format!("{}  {count}", cut(name, NAME))).unwrap_or_default()
    }

    fn span(&self, at: i32) -> String {
        usize::try_from(at).ok().and_then(|at| self.spans.get(at)).cloned().unwrap_or_default()
    }

    fn columns(&self, svg: &mut String) -> Drawn {
        let spans = i32::try_from(self.spans.len())?;
        let most = self.whole.iter().copied().max().unwrap_or_default().max(1);
        let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(self.title, ("sans-serif", 18))
            .margin(14)
            .x_label_area_size(30)
            .y_label_area_size(70)
            .build_cartesian_2d((0..spans).into_segmented(), 0..most)?;
        let name = |at: &SegmentValue<i32>| match at {
            SegmentValue::CenterOf(at) => self.span(*at),
            _ => String::new(),
        };
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(8)
            .x_label_formatter(&name)
            .label_style(FONT)
            .draw()?;
        chart.draw_series((0..spans).zip(self.whole).map(|(at, count)| {
            Rectangle::new(
                [(SegmentValue::Exact(at), 0), (SegmentValue::Exact(at + 1), *count)],
                COLOUR.filled(),
            )
        }))?;
        root.present()?;
        Ok(())
    }

    fn lines(&self, svg: &mut String) -> Drawn {
        let last = i32::try_from(self.spans.len())?.saturating_sub(1).max(1);
        let shown = self.rows.get(..LINES).unwrap_or(&self.rows);
        let most = shown.iter().flat_map(|(.., counts)| *counts).copied().max().unwrap_or_default().max(1);
        let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
        root.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&root)
            .caption(self.title, ("sans-serif", 18))
            .margin(14)
            .x_label_area_size(30)
            .y_label_area_size(70)
            .build_cartesian_2d(0..last, 0..most)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .x_labels(8)
            .x_label_formatter(&|at| self.span(*at))
            .label_style(FONT)
            .draw()?;
        for ((name, count, counts), colour) in shown.iter().zip(COLOURS) {
            let points: Vec<_> = (0..).zip(counts.iter().copied()).collect();
            let path = PathElement::new(points, colour.stroke_width(2));
            chart
                .draw_series(std::iter::once(path))?
                .label(format!("{}  {count}", cut(name, NAME)))
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE.mix(0.8))
            .label_font(FONT)
            .draw()?;
        root.present()?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_text_in_the_drawing_and_no_part_of_its_language() {
        let chart = Chart {
            title: "Lừa đảo & co",
            rows: vec![("<script>alert(1)</script>", 3, &[]), ("tiếng Việt", 1, &[])],
            spans: &[],
            whole: &[],
        };
        let svg = chart.svg().unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        assert!(
            !svg.contains("<script") && svg.contains("&lt;script&gt;") && svg.contains("tiếng Việt"),
            "{svg}"
        );
        assert!(svg.contains("Lừa đảo &amp; co"), "{svg}");
    }

    #[test]
    fn every_shape_is_drawn_be_there_much_nothing_or_little() {
        let spans: Vec<_> = (1..=30).map(|day| format!("2026-11-{day:02}")).collect();
        let counts: Vec<u64> = (0..30).collect();
        let many: Vec<_> = (0..20).map(|_| ("name", 435, counts.as_slice())).collect();
        for (rows, spans, whole) in [
            (vec![], &spans[..0], &counts[..0]),
            (vec![], &spans[..], &counts[..]),
            (vec![], &spans[..1], &[0][..]),
            (many.clone(), &spans[..], &counts[..]),
            (vec![("one", 5, &[5][..])], &spans[..1], &[5][..]),
            (many, &spans[..0], &counts[..0]),
        ] {
            let chart = Chart { title: "t", rows, spans, whole };
            assert!(chart.svg().unwrap().contains("</svg>"), "{chart:?}");
        }
    }
}
