//! A window that lists the cameras of a server, plays the one that is clicked, and writes to it.
//!
//! Arguments: the server's address, a user, a token (or SYMPLE_TOKEN).

mod calls;

use std::error::Error;
use std::process::ExitCode;

use calls::Calls;
use eframe::egui;

struct Window {
    calls: Calls,
    /// What the camera shows.
    texture: Option<egui::TextureHandle>,
    /// What is being written.
    text: String,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let url = arguments.next().unwrap_or_else(|| "ws://127.0.0.1:4500".into());
    let user = arguments.next().unwrap_or_else(|| "desktop".into());
    let token = arguments.next().or_else(|| std::env::var("SYMPLE_TOKEN").ok());
    let viewport = egui::ViewportBuilder::default().with_inner_size([900.0, 560.0]);
    let options = eframe::NativeOptions { viewport, ..Default::default() };
    let window = move |creation: &eframe::CreationContext<'_>| {
        let window = creation.egui_ctx.clone();
        let calls = Calls::start(&url, user, token, move || window.request_repaint())?;
        Ok(Box::new(Window { calls, texture: None, text: String::new() }) as Box<dyn eframe::App>)
    };
    eframe::run_native("Symple cameras", options, Box::new(window))?;
    Ok(())
}

impl eframe::App for Window {
    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        egui::Panel::left("cameras").default_size(180.0).show(ui, |ui| self.cameras(ui));
        egui::Panel::bottom("chat").default_size(120.0).show(ui, |ui| self.chat(ui));
        egui::CentralPanel::default().show(ui, |ui| self.picture(ui));
    }

    fn on_exit(&mut self, _gl: Option<&eframe::glow::Context>) {
        self.calls.close();
    }
}

impl Window {
    fn cameras(&mut self, ui: &mut egui::Ui) {
        let (status, cameras, watched) = {
            let view = self.calls.view();
            (view.status.clone(), view.cameras.clone(), view.watched.clone())
        };
        ui.heading("Cameras");
        for camera in cameras {
            let address = camera.address();
            let is_watched = watched.as_ref() == Some(&address);
            if ui.selectable_label(is_watched, camera.name.as_str()).clicked() {
                self.texture = None;
                self.calls.watch((!is_watched).then_some(address));
            }
        }
        ui.separator();
        ui.weak(status);
    }

    fn chat(&mut self, ui: &mut egui::Ui) {
        let (lines, watched) = {
            let view = self.calls.view();
            (view.lines.clone(), view.watched.clone())
        };
        let Some(camera) = watched else {
            ui.weak("Click a camera to see it and to write to it.");
            return;
        };
        let written = ui.text_edit_singleline(&mut self.text);
        if written.lost_focus()
            && ui.input(|input| input.key_pressed(egui::Key::Enter))
            && !self.text.is_empty()
        {
            self.calls.write(&camera, std::mem::take(&mut self.text));
            written.request_focus();
        }
        egui::ScrollArea::vertical().show(ui, |ui| {
            for line in lines.iter().rev() {
                ui.label(line);
            }
        });
    }

    fn picture(&mut self, ui: &mut egui::Ui) {
        let (picture, note, plays) = {
            let mut view = self.calls.view();
            (view.picture.take(), view.note.clone(), view.watched.is_some())
        };
        self.texture = self.texture.take().filter(|_| plays);
        if !note.is_empty() {
            ui.label(note);
        }
        if let Some(picture) = picture {
            let size = [picture.width(), picture.height()];
            let image = egui::ColorImage::from_rgba_unmultiplied(size, picture.rgba());
            match &mut self.texture {
                Some(texture) => texture.set(image, egui::TextureOptions::LINEAR),
                texture => {
                    *texture = Some(ui.ctx().load_texture("camera", image, egui::TextureOptions::LINEAR))
                }
            }
        }
        if let Some(texture) = &self.texture {
            ui.centered_and_justified(|ui| ui.add(egui::Image::from_texture(texture).shrink_to_fit()));
        }
    }
}
